"""The FAISS engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.engine import GRAPH_GRID, GRAPH_LIMIT, keep_allowed, widened
from mnemodex.indexers.dense.factory import leaf
from mnemodex.indexers.dense.gpu import quantizer_on_gpu
from mnemodex.indexers.dense.threads import threads_for, use_threads
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.dense.settings import Metric

FILE = "index.faiss"
REFINE_FACTOR = 10
"""Candidates that a refining index re-ranks, in multiples of k; FAISS's own default of 1 would refine nothing."""
ORDER_STEPS = 256
"""A graph is grown in so many batches, so that its insertion order is kept to 1/256 of the shard ..."""
SMALLEST_BATCH = 1024
"""... but in batches of no fewer rows than this, each of which costs time in proportion to the rows before it."""


class FaissEngine:
    """An index of FAISS. `index` is the FAISS object."""

    def __init__(self, index: Any, metric: Metric) -> None:
        import faiss

        self.index = index
        self._sign = np.float32(1 if metric == "ip" else -1)
        self._leaf = leaf(index)
        self._graph = isinstance(self._leaf, faiss.IndexHNSW)
        self._lists = int(self._leaf.nlist) if isinstance(self._leaf, faiss.IndexIVF) else 0
        flat = faiss.IndexFlat | faiss.IndexScalarQuantizer
        self._filters = self._graph or self._lists > 0 or isinstance(self._leaf, flat)

    @classmethod
    def open(cls, folder: Path, metric: Metric) -> FaissEngine:
        """Map the index of a shard; its pages are read when a search needs them.

        FAISS trusts what it reads, so the caller has verified the file's checksum.
        """
        import faiss

        return cls(read_index(folder / FILE, faiss.IO_FLAG_MMAP_IFC), metric)

    @property
    def rows(self) -> int:
        """Vectors in the index."""
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self.index.d)

    @property
    def parameter(self) -> str | None:
        """`efSearch` of a graph, `nprobe` of inverted lists, None for what looks at every row."""
        if self._graph:
            return "efSearch"
        return "nprobe" if self._lists else None

    @property
    def grid(self) -> tuple[int, ...]:
        """Values to try for it."""
        if self._graph:
            return GRAPH_GRID
        powers = tuple(1 << power for power in range(10) if 1 << power < self._lists)
        return (*powers, self._lists) if 0 < self._lists <= 512 else powers

    @property
    def limit(self) -> int:
        """All lists, or the most candidates of a graph."""
        return self._lists or GRAPH_LIMIT

    def batch_rows(self, rows: int) -> int | None:
        """Batches keep an order: FAISS shuffles the rows of one `add` to a graph."""
        return max(SMALLEST_BATCH, rows // ORDER_STEPS) if self._graph else None

    def add(self, blocks: Iterable[NDArray[np.float32]]) -> None:
        """Add matrices of shape (n, dimension)."""
        use_threads()
        with quantizer_on_gpu(self.index):
            for block in blocks:
                self.index.add(block)

    def search(
        self, queries: NDArray[np.float32], k: int, *, parameter: int | None, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `Engine.search`; where FAISS cannot leave rows out, more are looked for and dropped."""
        if allowed is not None and not self._filters:
            fetch = widened(k, allowed, self.rows)
            return keep_allowed(*self._search(queries, fetch, parameter, None), allowed, k)
        if allowed is not None and parameter is not None:
            parameter = widened(parameter, allowed, self.limit)
        return self._search(queries, k, parameter, allowed)

    def _search(
        self, queries: NDArray[np.float32], k: int, parameter: int | None, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        selector = None if allowed is None else bitmap_selector(allowed)
        parameters = search_parameters(self.index, parameter, selector)
        with threads_for(len(queries)):
            distances, positions = self.index.search(queries, k, params=parameters)
        return np.where(positions >= 0, distances * self._sign, np.float32(-np.inf)), positions

    def save(self, folder: Path) -> None:
        """Write `index.faiss`."""
        import faiss

        faiss.write_index(self.index, str(folder / FILE))


def read_index(path: Path, flags: int = 0) -> Any:
    """Read a FAISS file whose checksum was verified.

    Raises:
        CorruptFileError: FAISS refuses it.
    """
    import faiss

    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise CorruptFileError(f"{path}: FAISS cannot read it ({error}); build the index again") from error


def search_parameters(index: Any, value: int | None, selector: Any) -> Any:
    """FAISS's parameters of one search; nothing is set on the index, which other threads may be searching.

    Args:
        index: any index that `make_index` makes.
        value: of efSearch or nprobe; None leaves the default.
        selector: a FAISS id selector, or None.

    Returns:
        A SearchParameters object, or None where there is nothing to say (some indexes refuse any).
    """
    import faiss

    # Its stubs lack the keyword arguments that its Python wrappers add.
    made: Any = faiss
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = search_parameters(index.index, value, selector)
        return None if inner is None else made.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = search_parameters(index.base_index, value, selector)
        return made.IndexRefineSearchParameters(k_factor=REFINE_FACTOR, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW) and value is not None:
        return made.SearchParametersHNSW(efSearch=value, sel=selector)
    if isinstance(index, faiss.IndexIVF) and value is not None:
        return made.SearchParametersIVF(nprobe=value, sel=selector)
    return None if selector is None else made.SearchParameters(sel=selector)


def bitmap_selector(allowed: NDArray[np.bool_]) -> Any:
    """A FAISS id selector from a mask over all positions."""
    import faiss

    # Its stubs show the constructor of C++ only, which takes a pointer and a length.
    selector: Any = faiss.IDSelectorBitmap
    return selector(np.packbits(allowed, bitorder="little"))
