"""Short codes of the vectors of facts: the facts that are likely near to a question, without reading all vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.devices import set_threads, threads_for, use_threads
from mnemodex.indexers.dense.faiss_engine import read_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.dense.vectors import Vectors

EXACT_FACTS = 1 << 17
"""Up to here all vectors are compared with a question, in some 20 ms of MiniLM's."""
_NUMBERS, _FEWEST = 4, 96
"""Numbers of a vector that 4 bits stand for, fewer in short ones: 48 bytes of MiniLM's, of which a million are read in
3 ms."""
_POINTS = 1 << 16
"""Vectors that codes are trained with."""
CANDIDATES = 2048
"""Facts whose vectors are read: of random names, where no fact is much nearer than others, the nearest ten are among
1,000 of 200,000 by their codes in 99.95 % of cases."""
FILE = "codes.faiss"


def train_codes(vectors: Vectors, out: Path) -> None:
    """Train product quantisers (Jégou et al., 2011) of 16 centroids each, whose tables fit registers."""
    import faiss

    dimension = vectors.dimension
    most = max(dimension // _NUMBERS, min(dimension, _FEWEST))
    count = max(size for size in range(1, most + 1) if dimension % size == 0)
    index: Any = faiss.index_factory(dimension, f"PQ{count}x4", faiss.METRIC_INNER_PRODUCT)
    # Thousands of short loops, in which further threads would only wait for each other.
    with threads_for(1):
        index.train(vectors.sample(_POINTS, seed=0))
    faiss.write_index(index, str(out / FILE))


def write_codes(trained: Path, vectors: Vectors, out: Path, *, cpus: int) -> None:
    """Write the codes of one partition of vectors."""
    import faiss

    set_threads(cpus)
    index = read_index(trained / FILE)
    use_threads()
    for block in vectors.blocks(np.arange(len(vectors))):
        index.add(block)
    faiss.write_index(index, str(out / FILE))


class Codes:
    """The codes of several partitions of vectors, in memory; their rows are numbered through."""

    def __init__(self, folders: Sequence[Path]) -> None:
        import faiss

        codes = read_index(folders[0] / FILE)
        for folder in folders[1:]:
            codes.merge_from(read_index(folder / FILE), 0)
        # The form in which registers compare 32 facts at a time; FAISS 1.15 cannot merge it.
        self._index = faiss.IndexPQFastScan(codes)

    def candidates(self, vectors: Float32s) -> list[Int64s]:
        """Return rows that are likely near to each vector, of shape (vectors, dimension)."""
        with threads_for(len(vectors)):
            _, rows = self._index.search(vectors, CANDIDATES)
        return [row[row >= 0] for row in rows]
