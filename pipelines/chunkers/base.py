"""What a chunker is: text in, spans out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Chunker(Protocol):
    """Cuts documents into spans of characters."""

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Cut a batch of documents.

        Args:
            texts: the documents' texts.

        Returns:
            For each text an int64 array of shape (chunks, 2): start and end character offsets, ascending, with
            `text[start:end]` the chunk. A text without anything to chunk gives shape (0, 2).
        """
