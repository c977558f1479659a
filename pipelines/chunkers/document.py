"""The chunker that leaves documents as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.schemas.chunks import DocumentChunks


class DocumentChunker:
    """One chunk a document, also of an empty text: its title may still be worth finding."""

    def __init__(self, settings: DocumentChunks) -> None:
        self.settings = settings

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """See `Chunker.spans`: for each text the one span (0, length)."""
        return [np.array([[0, len(text)]], np.int64) for text in texts]
