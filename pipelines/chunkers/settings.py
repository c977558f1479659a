"""Settings of the chunkers, as the recipe's `chunks` gives them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mnemodex.schemas.recipe import DEFAULT_MODEL


class ChunkSettings(BaseModel):
    """Settings of a chunker; every chunker has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str


class DocumentChunks(ChunkSettings):
    """Every document is one chunk."""

    by: Literal["document"] = "document"


class TokenChunks(ChunkSettings):
    """Windows of tokens.

    Attributes:
        size: tokens of a window.
        overlap: tokens that a window shares with the one before.
        tokenizer: the model whose tokenizer counts: a path, a hub id, or `pkg:MODULE/FOLDER`.
    """

    by: Literal["tokens"] = "tokens"
    size: int = Field(default=128, ge=1)
    overlap: int = Field(default=0, ge=0)
    tokenizer: str = DEFAULT_MODEL

    @field_validator("overlap")
    @classmethod
    def _below_size(cls, overlap: int, info: ValidationInfo) -> int:
        size = info.data.get("size")
        if size is not None and overlap >= size:
            msg = f"overlap must be less than size ({size}), or the windows would not move on"
            raise ValueError(msg)
        return overlap
