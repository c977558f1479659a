"""The chunker that leaves documents as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.chunkers import Chunker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.chunks import DocumentChunks


class DocumentChunker(Chunker):
    """One chunk a document, also of an empty text, whose title may be worth finding."""

    def __init__(self, settings: DocumentChunks) -> None:
        self.settings = settings

    @override
    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        return [np.array([[0, len(text)]], np.int64) for text in texts]
