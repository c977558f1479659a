"""The FAISS engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.dense.devices import quantizer_on_gpu, threads_for, use_threads
from mnemodex.indexers.dense.engine import GRAPH_GRID, GRAPH_LIMIT, Engine, keep_allowed, widened
from mnemodex.indexers.dense.factory import leaf
from mnemodex.indexers.dense.faiss_file import read_index
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.indexers.vector_settings import Metric

FILE = "index.faiss"
REFINE_FACTOR = 10
"""Candidates that a refining index re-ranks, in multiples of k; FAISS's own default of 1 would refine nothing."""
_LINKS = 32
ORDER_STEPS = 256
"""A graph is grown in so many batches, so that its insertion order is kept to 1/256 of the shard ..."""
SMALLEST_BATCH = 1024
"""... but in batches of no fewer rows than this, each of which costs time in proportion to the rows before it."""


class FaissEngine(Engine):
    """An index of FAISS. `index` is the FAISS object.

    Its search parameter is `efSearch` of a graph, `nprobe` of inverted lists, None for what looks at every row.
    """

    def __init__(self, index: Any, metric: Metric, path: Path | None = None) -> None:
        import faiss

        self.index = index
        self._path = path
        self.dimension = int(index.d)
        self._sign = np.float32(1 if metric == "ip" else -1)
        searched = leaf(index)
        lists = int(searched.nlist) if isinstance(searched, faiss.IndexIVF) else 0
        self._lists = lists
        self.parameter = "nprobe" if lists else None
        self.grid = tuple(1 << power for power in range(10) if 1 << power < lists)
        if 0 < lists <= 512:
            self.grid += (lists,)
        self.limit = lists or GRAPH_LIMIT
        if isinstance(searched, faiss.IndexHNSW):
            self.parameter, self.grid = "efSearch", GRAPH_GRID
        if isinstance(faiss.downcast_index(index), faiss.IndexFlat | faiss.IndexIVFFlat):
            self.exact_from = lists
        flat = isinstance(searched, faiss.IndexFlat | faiss.IndexScalarQuantizer)
        self._filters = flat or self.parameter is not None

    @classmethod
    def open(cls, folder: Path, metric: Metric) -> FaissEngine:
        """Map the index of a shard; FAISS trusts what it reads, so the caller has verified the file's checksum."""
        import faiss

        return cls(read_index(folder / FILE, faiss.IO_FLAG_MMAP_IFC), metric, folder / FILE)

    @property
    @override
    def rows(self) -> int:
        return int(self.index.ntotal)

    @override
    def comparisons(self, parameter: int) -> float:
        # A graph looks at the links of each candidate.
        return _LINKS * parameter if self.parameter == "efSearch" else self.rows * (parameter or 1) / (self._lists or 1)

    @override
    def batch_rows(self, rows: int) -> int | None:
        # FAISS shuffles the rows of one `add` to a graph.
        return max(SMALLEST_BATCH, rows // ORDER_STEPS) if self.parameter == "efSearch" else None

    @override
    def add(self, blocks: Iterable[Float32s]) -> None:
        use_threads()
        with quantizer_on_gpu(self.index):
            for block in blocks:
                self.index.add(block)

    @override
    def search(
        self, queries: Float32s, k: int, *, parameter: int | None, allowed: Bools | None = None
    ) -> tuple[Float32s, Int64s]:
        import faiss

        fetch, selector = k, None
        if allowed is not None and self._filters:
            # FAISS's stubs show the selector's constructor of C++ only, which takes a pointer and a length.
            bitmap: Any = faiss.IDSelectorBitmap
            selector = bitmap(np.packbits(allowed, bitorder="little"))
            parameter = None if parameter is None else widened(parameter, allowed, self.limit)
        elif allowed is not None:
            # FAISS cannot leave rows out: more are looked for and dropped.
            fetch = widened(k, allowed, self.rows)
        parameters = _parameters(self.index, parameter, selector)
        with threads_for(len(queries)):
            distances, positions = self.index.search(queries, fetch, params=parameters)
        if positions.max(initial=-1) >= self.rows:
            # FAISS takes the numbers of rows in inverted lists as they are.
            raise CorruptFileError(f"{self._path}: names rows that it does not have; build the index again")
        scores = np.where(positions >= 0, distances * self._sign, np.float32(-np.inf))
        if allowed is not None and not self._filters:
            return keep_allowed(scores, positions, allowed, k)
        return scores, positions

    @override
    def save(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self.index, str(folder / FILE))


def _parameters(index: Any, value: int | None, selector: Any) -> Any:
    """Return the parameters of one search: a SearchParameters object, or None, as some indexes refuse any.

    Nothing is set on the index, which other threads may be searching. `value` is of efSearch or nprobe, `selector` a
    FAISS id selector; None leaves the default.
    """
    import faiss

    # Its stubs lack the keyword arguments that its Python wrappers add.
    untyped: Any = faiss
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(index.index, value, selector)
        return None if inner is None else untyped.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(index.base_index, value, selector)
        return untyped.IndexRefineSearchParameters(k_factor=REFINE_FACTOR, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW) and value is not None:
        return untyped.SearchParametersHNSW(efSearch=value, sel=selector)
    if isinstance(index, faiss.IndexIVF) and value is not None:
        return untyped.SearchParametersIVF(nprobe=value, sel=selector)
    return None if selector is None else untyped.SearchParameters(sel=selector)
