"""The section `source` of a recipe: files of documents, or none."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator
from pydantic_core import PydanticKnownError

from mnemodex.schemas.limits import MaxErrors
from mnemodex.schemas.metadata import check_fields
from mnemodex.schemas.spec import RecipePath, RunOnly, Spec

FIELDS = ("key", "title", "text")
"""What a source's records are mapped to."""


class Decontamination(Spec):
    """Evaluations whose texts no document may hold.

    Attributes:
        files: a query file or a folder of BEIR, or a list of these: of their questions and answers.
        n: words in a row that a document may not share with one of these; shorter ones are not looked for.
    """

    files: Annotated[tuple[Annotated[str, RecipePath()], ...], Field(min_length=1)]
    n: int = Field(default=13, ge=1)

    @field_validator("files", mode="before")
    @classmethod
    def _several(cls, files: Any) -> Any:
        return (files,) if isinstance(files, str) else files


class Source(Spec):
    """Files of documents.

    Attributes:
        path: a file, a folder or a pattern (`notes/**/*.md`), or a list of these; relative to the recipe.
        fields: our field names (key, title, text) to the source's own.
        metadata: fields of the metadata to the types of their columns; inferred without it, none where it is empty.
        format: the format's name where the path does not tell it.
        max_errors: how many unreadable rows a build accepts before it fails, a number or a percentage.
        decontaminate: query files, or `{files, n}`: documents that share n words in a row with one of their questions
            or answers are left out.
    """

    path: Annotated[str, RecipePath()] | tuple[Annotated[str, RecipePath()], ...]
    fields: dict[str, str] = Field(default_factory=dict)
    metadata: Annotated[dict[str, str] | None, RunOnly()] = None
    format: str | None = None
    max_errors: Annotated[MaxErrors, RunOnly()] = 100
    # The step that reads documents has it in its identity where it is given, by the content of the files.
    decontaminate: Annotated[Decontamination | None, RunOnly()] = None

    @field_validator("decontaminate", mode="before")
    @classmethod
    def _files_alone(cls, given: Any) -> Any:
        return {"files": given} if isinstance(given, str | list | tuple) else given

    @field_validator("path", mode="plain")
    @classmethod
    def _paths(cls, path: Any) -> str | tuple[str, ...]:
        # A union would say of each of its types why the value is none of them.
        paths = path if isinstance(path, list | tuple) else [path]
        if not paths:
            raise PydanticKnownError("too_short", {"field_type": "List", "min_length": 1, "actual_length": 0})
        if not all(isinstance(one, str) for one in paths):
            raise PydanticKnownError("string_type")
        if not all(paths):
            raise PydanticKnownError("string_too_short", {"min_length": 1})
        return path if isinstance(path, str) else tuple(paths)

    @field_serializer("path")
    def _written(self, path: str | tuple[str, ...]) -> Any:
        # The serializer of the union warns of each of its types that a value is not.
        return path

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in fields:
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(FIELDS)}"
                raise ValueError(f"unknown field {name!r}; {hint}")
        return fields

    @field_validator("metadata")
    @classmethod
    def _known_types(cls, metadata: dict[str, str] | None) -> dict[str, str] | None:
        check_fields(metadata or {})
        return metadata


class DelimitedFiles(Source):
    """CSV or TSV files.

    Attributes:
        delimiter: between cells; by default the one of comma, tab, semicolon and bar that the header has most often.
        header: whether the first record names the columns; else they are called `1`, `2` and so on.
    """

    format: Literal["csv"]
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    header: bool = True

    @field_validator("delimiter")
    @classmethod
    def _one_byte(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and (not delimiter.isascii() or delimiter in '"\r\n'):
            raise ValueError("should be an ASCII character, and no quote or line end")
        return delimiter


def shown_paths(paths: str | tuple[str, ...]) -> str:
    """Return the paths of a source, for a message."""
    if isinstance(paths, str):
        return paths
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


class NoSource(Spec):
    """No documents, for a memory that has question-answer pairs only."""

    format: Literal["empty"]
