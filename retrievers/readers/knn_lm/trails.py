"""Which pointers a forward pass goes on with: those of its cache, or of the same tokens."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mnemodex.retrievers.readers.knn_lm.pointers import Pointers


class Trails:
    """Keeps pointers from one forward pass to the next, so that generating text can follow them.

    Pointers belong to a cache of keys and values, as long as it lives and ends where they do; without one, to the
    tokens that were read. `generate()` makes a new cache each time, and so starts anew.

    Args:
        new: makes pointers for so many sequences.
    """

    def __init__(self, new: Callable[[int], Pointers]) -> None:
        self._new = new
        self._of_caches: weakref.WeakKeyDictionary[Any, tuple[int, Pointers]] = weakref.WeakKeyDictionary()
        self._of_tokens: tuple[dict[bytes, int], Pointers] | None = None

    def of_cache(self, cache: Any, length: int, rows: int) -> Pointers:
        """The pointers that end where a cache does, or new ones.

        Args:
            cache: what the model was given; None for none.
            length: the tokens that were in it.
            rows: the sequences.
        """
        ended, pointers = self._of_caches.get(cache, (0, None)) if cache is not None else (0, None)
        # A cache that was cropped or filled by others ends elsewhere.
        if pointers is None or ended != length or len(pointers) != rows:
            return self._new(rows)
        return pointers

    def keep_of_cache(self, cache: Any, length: int, pointers: Pointers) -> None:
        """Remember pointers that end at the last token of a cache."""
        self._of_caches[cache] = (length, pointers)

    def reorder(self, cache: Any, rows: NDArray[np.int64]) -> None:
        """Beams of a cache were reordered."""
        if cache in self._of_caches:
            self._of_caches[cache][1].reorder(rows)

    def of_tokens(self, tokens: NDArray[np.int64]) -> Pointers:
        """The pointers that end in front of the last token of each sequence, or new ones.

        Args:
            tokens: of whole sequences, shape (rows, tokens).
        """
        import numpy as np

        if self._of_tokens is not None:
            rows, pointers = self._of_tokens
            order = [rows.get(sequence.tobytes(), -1) for sequence in tokens[:, :-1]]
            if min(order) >= 0:
                pointers.reorder(np.array(order, np.int64))
                return pointers
        return self._new(len(tokens))

    def keep_of_tokens(self, tokens: NDArray[np.int64], pointers: Pointers) -> None:
        """Remember pointers that end at the last token of whole sequences."""
        self._of_tokens = {sequence.tobytes(): row for row, sequence in enumerate(tokens)}, pointers
