"""The recipe's section `chunks`: how documents are cut."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from mnemodex.schemas.embedding import DEFAULT_MODEL
from mnemodex.schemas.spec import ModelRef, Spec


class DocumentChunks(Spec):
    """Every document is one chunk."""

    by: Literal["document"] = "document"


class TokenChunks(Spec):
    """Windows of tokens.

    Attributes:
        size: tokens of a window.
        overlap: tokens that a window shares with the one before.
        tokenizer: the model whose tokenizer counts: a path, a hub id, or `pkg:MODULE/FOLDER`.
    """

    by: Literal["tokens"] = "tokens"
    size: int = Field(default=128, ge=1)
    overlap: int = Field(default=0, ge=0)
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL

    @field_validator("overlap")
    @classmethod
    def _below_size(cls, overlap: int, info: ValidationInfo) -> int:
        size = info.data.get("size")
        if size is not None and overlap >= size:
            raise ValueError(f"overlap must be less than size ({size}), or the windows would not move on")
        return overlap
