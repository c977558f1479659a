"""The recipe's section `source`: where documents come from."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import Field, field_validator

from mnemodex.schemas.spec import RecipePath, RunOnly, Spec

FIELDS = ("key", "title", "text")
"""What a source's records are mapped to."""


class Source(Spec):
    """Files of documents.

    Attributes:
        path: a file or folder; relative to the recipe.
        fields: our field names (key, title, text) to the source's own.
        format: the format's name where the path does not tell it.
        max_errors: how many unreadable rows a build accepts before it fails.
    """

    path: Annotated[str, RecipePath()] = Field(min_length=1)
    fields: dict[str, str] = Field(default_factory=dict)
    format: str | None = None
    max_errors: Annotated[int, RunOnly()] = Field(default=100, ge=0)

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in fields:
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(FIELDS)}"
                raise ValueError(f"unknown field {name!r}; {hint}")
        return fields
