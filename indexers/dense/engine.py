"""The engines in common: an index that is added to in batches and searched with one parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s

GRAPH_GRID = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Candidates kept while a graph is searched (efSearch, ef), as tried when recall is measured."""

GRAPH_LIMIT = 4096
"""The most candidates that a search of a graph keeps before exact search takes over."""


class Engine(Protocol):
    """One index of FAISS or hnswlib in memory or mapped from disk. Positions are 0, 1, … in the order of adding.

    Attributes:
        dimension: of the vectors.
        parameter: name of the search parameter that trades time for recall; None where there is none.
        grid: ascending values to try for it; empty where there is none.
        limit: the largest value that makes sense.
        exact_from: the value from which on every row is compared by its very vector, 0 where that is so without a
            parameter; None where it never is.
    """

    dimension: int
    parameter: str | None
    grid: tuple[int, ...]
    limit: int
    exact_from: int | None = None

    @property
    def rows(self) -> int:
        """Vectors in the index."""

    def comparisons(self, parameter: int) -> float:
        """Return how many rows a query is compared with, roughly."""
        return float(parameter)

    def batch_rows(self, rows: int) -> int | None:
        """Return how many vectors of `rows` to add at a time so that their order is kept; None for any number."""
        return None

    def add(self, blocks: Iterable[Float32s]) -> None:
        """Add matrices of shape (n, dimension) one after the other."""

    def search(
        self, queries: Float32s, k: int, *, parameter: int | None, allowed: Bools | None = None
    ) -> tuple[Float32s, Int64s]:
        """Find the approximately best k rows, 1 to `rows`, of each query; safe to call from several threads.

        Queries are float32 of shape (q, dimension), C-contiguous. The parameter is None where there is none. `allowed`,
        of shape (rows,), is False for rows to leave out; the search then looks further in proportion.

        Return scores (higher is better, -inf where missing) and positions (-1 where missing), both of shape (q, k),
        best first. There may be fewer hits than asked for.
        """

    def save(self, folder: Path) -> None:
        """Write the index into the folder."""


def keep_allowed(scores: Float32s, positions: Int64s, allowed: Bools, k: int) -> tuple[Float32s, Int64s]:
    """Of hits of a search without a filter (best first, -1 where missing) keep the first k that are allowed."""
    matches = (positions >= 0) & allowed[positions]
    front = np.arange(len(positions))[:, None], np.argsort(~matches, axis=1, kind="stable")[:, :k]
    scores = np.where(matches[front], scores[front], np.float32(-np.inf))
    return scores, np.where(matches[front], positions[front], -1)


def widened(parameter: int, allowed: Bools, limit: int) -> int:
    """Return a parameter for a filtered search that sees as many allowed candidates as one without the filter."""
    return min(limit, -(-parameter * len(allowed) // max(1, int(np.count_nonzero(allowed)))))
