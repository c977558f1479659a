"""Chunkers: documents become chunks with exact character offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import CHUNKERS, load
from mnemodex.schemas.passed import PassedChunker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.pipelines.chunkers.base import Chunker
    from mnemodex.schemas.spec import Spec


def make_chunker(settings: Spec, objects: Mapping[str, Any]) -> Chunker:
    """Return the chunker that settings ask for, its tokenizer loaded.

    Args:
        settings: of the recipe's section `chunks`.
        objects: what the caller of `build` passed.

    Raises:
        ModelError: the tokenizer is not there.
        RecipeError: the caller of `build` did not pass the chunker that the settings speak of.
    """
    if isinstance(settings, PassedChunker):
        if "chunks" not in objects:
            msg = "the chunks are cut by an object that the caller of build passed; pass it again: chunker=CHUNKER"
            raise RecipeError(msg)
        passed: Chunker = objects["chunks"]
        return passed
    made: Chunker = load(CHUNKERS.find(getattr(settings, "by", None)).make)(settings)
    return made
