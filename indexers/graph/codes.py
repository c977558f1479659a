"""Short codes of vectors: those that are likely near to a question, without reading all vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import check_places, map_array, save_arrays
from mnemodex.indexers.dense.devices import set_threads, threads_for, use_threads
from mnemodex.indexers.dense.faiss_file import read_index
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Bools, Float32s, Int64s
    from mnemodex.indexers.dense.vectors import Vectors

EXACT_FACTS, EXACT_PASSAGES = 1 << 17, 1 << 16
"""Up to here all vectors are compared with a question, in some 20 ms of MiniLM's."""
_NUMBERS, _FEWEST = 4, 96
"""Numbers of a vector that 4 bits code, fewer in short ones: 48 bytes of MiniLM's, of which a million are read in
2 ms."""
_POINTS, _OF_LIST = 1 << 14, 64
"""Vectors that codes are trained with at least, and for each list."""
_PROBES, _PROBED = 64, 8
"""Lists that are looked at: at least, and the part of all. In an eighth are 98.3 % of the ten of 3 million facts
that are nearest to a question, where names are random and lists part them badly; in three sixteenths are 99.4 %."""
_TRAINED, _CODES = "codes.faiss", "codes"


def train_codes(vectors: Vectors, out: Path, *, lists: bool) -> None:
    """Train product quantisers (Jégou et al., 2011) of 16 centroids each, whose tables fit registers.

    With `lists`, inverted lists are trained too, as many as the square root of the vectors. Else all are in one.
    """
    import faiss

    dimension = vectors.dimension
    most = max(dimension // _NUMBERS, min(dimension, _FEWEST))
    count = max(size for size in range(1, most + 1) if dimension % size == 0)
    number = 1 << (len(vectors).bit_length() - 1) // 2 if lists else 1
    # "np": no search compares the codes bit by bit, for which FAISS would else order the centroids, for seconds.
    index: Any = faiss.index_factory(dimension, f"IVF{number},PQ{count}x4np", faiss.METRIC_INNER_PRODUCT)
    # Thousands of short loops, in which further threads would only wait for each other.
    with threads_for(1):
        index.train(vectors.sample(max(_POINTS, _OF_LIST * number), seed=0))
    faiss.write_index(index, str(out / _TRAINED))


class KnownCodes(NamedTuple):
    """Codes that were written before: numbers of rows, int64 of shape (rows,), and their codes."""

    rows: Int64s
    codes: Array


def write_codes(trained: Path, vectors: Vectors, out: Path, *, cpus: int, known: KnownCodes | None = None) -> None:
    """Write `codes.npy`, uint8 of shape (vectors, lists of each, bytes): a list's number and the code in it.

    A vector is in the list that is nearest to it, and in the one that is nearest to what the first leaves of it (in the
    manner of SOAR: Sun et al., 2023): a fact of two names is found by either.
    """
    set_threads(cpus)
    index = read_index(trained / _TRAINED)
    use_threads()
    codes = np.empty((len(vectors), min(index.nlist, 2), index.sa_code_size()), np.uint8)
    new = np.ones(len(vectors), np.bool_)
    if known is not None and known.codes.shape[1:] == codes.shape[1:]:
        codes[known.rows], new[known.rows] = known.codes, False
    rows = np.flatnonzero(new)
    start = 0
    for block in vectors.blocks(rows):
        codes[rows[start : start + len(block)]] = _encode(index, block)
        start += len(block)
    save_arrays(out, **{_CODES: codes})


def _encode(index: Any, vectors: Float32s) -> Array:
    import faiss

    nearest = index.quantizer.assign(vectors, 1)[:, 0]
    lists = [nearest]
    if index.nlist > 1:
        centroids = index.quantizer.reconstruct_n(0, index.nlist)[nearest]
        left = vectors - np.einsum("nd,nd->n", vectors, centroids)[:, None] * centroids
        lists.append(index.quantizer.assign(left, 1)[:, 0])
    codes = np.zeros((len(lists), len(vectors), index.sa_code_size()), np.uint8)
    # FAISS has no types for its pointers.
    pointer: Any = faiss.swig_ptr
    for numbers, of_list in zip(lists, codes, strict=True):
        index.encode_vectors(len(vectors), pointer(vectors), pointer(numbers), pointer(of_list), True)
    return codes.swapaxes(0, 1)


class Codes:
    """The codes of several partitions of vectors, in memory; their rows are numbered through.

    Args:
        trained: the file that `train_codes` wrote.
        parts: the files that `write_codes` wrote.
        kept: which rows are candidates, bool of shape (rows,).
    """

    def __init__(self, trained: Path, parts: Sequence[Path], kept: Bools) -> None:
        import faiss

        self._coded = read_index(trained)
        first = 0
        for path in parts:
            codes = self._checked(path)
            here = np.flatnonzero(kept[first : first + len(codes)])
            rows = np.repeat(first + here, codes.shape[1])
            self._coded.add_sa_codes(codes[here].reshape(len(rows), codes.shape[2]), rows)
            first += len(codes)
        # The form in which registers compare 32 vectors at a time. It takes no codes, and shares the centroids.
        self._index: Any = faiss.IndexIVFPQFastScan(self._coded)
        # With more than there are, FAISS 1.15 returns rows at random.
        self._index.nprobe = min(max(_PROBES, self._index.nlist // _PROBED), self._index.nlist)
        self._coded.reset()

    def _checked(self, path: Path) -> Array:
        """Map codes; FAISS follows the number of the list that each begins with."""
        codes, size, first = map_array(path), self._coded.sa_code_size(), self._coded.coarse_code_size()
        if codes.ndim != 3 or codes.dtype != np.uint8 or codes.shape[2] != size:
            raise CorruptFileError(f"{path}: has no codes of {size} bytes; remove it and build again")
        numbers = np.zeros(codes.shape[:2], np.int64)
        for byte in range(first):
            numbers |= codes[:, :, byte].astype(np.int64) << 8 * byte
        check_places(numbers.ravel(), self._coded.nlist, path.parent, path.name)
        return codes

    def candidates(self, vectors: Float32s, count: int) -> list[Int64s]:
        """Return rows that are likely near to each vector, ascending: those of `count` codes, or all there are.

        Vectors are of shape (vectors, dimension). Where the lists looked at hold fewer, all lists are.
        """
        import faiss

        # FAISS's stubs lack the keyword arguments that its Python wrappers add.
        parameters: Any = faiss.SearchParametersIVF
        with threads_for(len(vectors)):
            _, rows = self._index.search(vectors, count)
            short = rows[:, -1] < 0
            if short.any() and self._index.nlist > self._index.nprobe:
                every = parameters(nprobe=self._index.nlist)
                rows[short] = self._index.search(vectors[short], count, params=every)[1]
        rows.sort(axis=1)
        # Of a row in two lists, one is enough.
        keep = np.diff(rows, axis=1, prepend=-1) > 0
        return [row[kept] for row, kept in zip(rows, keep, strict=True)]
