"""What the two libraries have in common: an index that is added to in batches and searched with one parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

GRAPH_GRID = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Candidates kept while a graph is searched (efSearch, ef), as tried when recall is measured."""

GRAPH_LIMIT = 4096
"""The most candidates that a search of a graph keeps before exact search takes over."""


class Engine(Protocol):
    """One index of FAISS or hnswlib in memory or mapped from disk. Positions are 0, 1, … in the order of adding."""

    @property
    def rows(self) -> int:
        """Vectors in the index."""

    @property
    def dimension(self) -> int:
        """Of the vectors."""

    @property
    def parameter(self) -> str | None:
        """Name of the search parameter that trades time for recall; None where there is none."""

    @property
    def grid(self) -> tuple[int, ...]:
        """Ascending values to try for it; empty where there is none."""

    @property
    def limit(self) -> int:
        """The largest value that makes sense."""

    def batch_rows(self, rows: int) -> int | None:
        """Vectors to add at a time so that their order is kept, of `rows` in all; None if it is with any number."""

    def add(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        """Add matrices of shape (n, dimension) one after the other."""

    def search(
        self, queries: NDArray[np.float32], k: int, *, parameter: int | None, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the approximately best k rows of each query; safe to call from several threads.

        Args:
            queries: float32 of shape (q, dimension), C-contiguous.
            k: 1 to `rows`.
            parameter: value of the search parameter; None where there is none.
            allowed: of shape (rows,), False for rows to leave out. The search then looks further in proportion.

        Returns:
            Scores (higher is better, -inf where missing) and positions (-1 where missing), both of shape (q, k), best
            first. There may be fewer hits than asked for.
        """

    def save(self, folder: Path) -> None:
        """Write the index into the folder."""


def keep_allowed(
    scores: NDArray[np.float32], positions: NDArray[np.int64], allowed: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Of the hits found without a filter (best first, -1 where missing) keep the first k that are allowed."""
    keep = (positions >= 0) & allowed[positions]
    front = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, front, axis=1)
    scores = np.where(kept, np.take_along_axis(scores, front, axis=1), np.float32(-np.inf))
    return scores, np.where(kept, np.take_along_axis(positions, front, axis=1), -1)


def widened(parameter: int, allowed: NDArray[np.bool_], limit: int) -> int:
    """The parameter for a search that may return only some rows: as many allowed candidates as without the filter."""
    kept = max(1, int(np.count_nonzero(allowed)))
    return min(limit, -(-parameter * len(allowed) // kept))
