"""Chunkers: documents become chunks with exact character offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from typing_extensions import override

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import CHUNKERS, load
from mnemodex.schemas.passed import PassedChunker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.sections import DocumentChunks
    from mnemodex.schemas.spec import Spec


class Chunker(Protocol):
    """Cuts documents into spans of characters."""

    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        """Cut a batch of documents, given by their texts.

        Return for each text an int64 array of shape (chunks, 2): start and end character offsets, ascending, with
        `text[start:end]` the chunk. A text without anything to chunk gives shape (0, 2).
        """


class DocumentChunker(Chunker):
    """One chunk a document, also of an empty text, whose title may be worth finding."""

    def __init__(self, settings: DocumentChunks) -> None:
        self.settings = settings

    @override
    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        return [np.array([[0, len(text)]], np.int64) for text in texts]


def make_chunker(settings: Spec, objects: Mapping[str, Any]) -> Chunker:
    """Return the chunker of the recipe's section `chunks`, its tokenizer loaded, or among what `build` was passed."""
    if not isinstance(settings, PassedChunker):
        chunker: Chunker = load(CHUNKERS.find(getattr(settings, "by", None)).make)(settings)
        return chunker
    if "chunks" not in objects:
        raise RecipeError("chunks: cut by an object that the caller of build passed; pass it again: chunker=CHUNKER")
    passed: Chunker = objects["chunks"]
    return passed
