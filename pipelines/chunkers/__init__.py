"""Chunkers: documents become chunks with exact character offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.chunkers.document import DocumentChunker
from mnemodex.pipelines.chunkers.settings import ChunkSettings, DocumentChunks, TokenChunks
from mnemodex.pipelines.chunkers.tokens import TokenChunker
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.recipe import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnemodex.pipelines.chunkers.base import Chunker

CHUNKERS: dict[str, tuple[type[ChunkSettings], Callable[[Any], Chunker]]] = {
    "document": (DocumentChunks, DocumentChunker),
    "tokens": (TokenChunks, TokenChunker),
}
"""By the recipe's `chunks.by`: the settings' class and the chunker's."""


def chunk_settings(data: Mapping[str, Any], *, name: str = "recipe") -> ChunkSettings:
    """Check the recipe's `chunks` and fill in defaults.

    Args:
        data: what the user wrote; without `by` it means `document`.
        name: the recipe, for the message.

    Raises:
        RecipeError: a key or value is wrong; the message names it.
    """
    by = data.get("by", "document")
    if not isinstance(by, str) or by not in CHUNKERS:
        msg = f"{name}: chunks.by: {by!r} is unknown; it is one of {', '.join(CHUNKERS)}"
        raise RecipeError(msg)
    return validate(CHUNKERS[by][0], dict(data), name=name, at="chunks")


def chunker_for(settings: ChunkSettings | Mapping[str, Any]) -> Chunker:
    """The chunker that the settings ask for, with its tokenizer loaded.

    Raises:
        RecipeError: a setting is wrong.
        ModelError: the tokenizer is not there.
    """
    checked = settings if isinstance(settings, ChunkSettings) else chunk_settings(settings)
    return CHUNKERS[checked.by][1](checked)


__all__ = ["CHUNKERS", "ChunkSettings", "DocumentChunks", "TokenChunks", "chunk_settings", "chunker_for"]
