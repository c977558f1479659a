"""The threads that FAISS and hnswlib use, and the GPU, where FAISS has one while an index is built."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.forks import claim_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_chosen = SimpleNamespace(cpus=0)


def set_threads(cpus: int) -> None:
    """Let every later build and search of this process use `cpus` threads at most.

    Both libraries take every core of the machine otherwise, and several actors on one machine would fight for them.
    """
    if cpus < 1:
        raise ValueError(f"at least one thread is needed, not {cpus}")
    _chosen.cpus = cpus
    use_threads()


def use_threads() -> int:
    """Apply the chosen number to the calling thread, and return it.

    OpenMP keeps the number for each thread that calls it, so one call at the start of a process does not reach the
    threads of a server's pool; every search and build therefore calls this first. See `claim_threads` for forks.
    """
    import faiss

    claim_threads()
    if _chosen.cpus:
        faiss.omp_set_num_threads(_chosen.cpus)
    return int(faiss.omp_get_max_threads())


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """Apply the chosen number, but one thread for one query.

    With more, FAISS 1.15 shares one query of a flat index out among them by another kernel, which takes twice as long
    with two threads (15 ms instead of 8 for 59,501 vectors of 576 dimensions, and six times on busy cores); other
    indexes use one anyway.
    """
    import faiss

    chosen = use_threads()
    faiss.omp_set_num_threads(1 if queries == 1 else chosen)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(chosen)


def to_gpu(index: Any) -> Any:
    """Copy a FAISS index to all visible GPUs; without one, return the index itself."""
    import faiss

    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index


def clustering_on_gpu(index: Any) -> AbstractContextManager[None]:
    """Within the block, the k-means of an IVF index assigns points on the GPU, if there is one."""
    import faiss

    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf is None or faiss.get_num_gpus() == 0:
        return nullcontext()
    # L2 serves inner product too: its k-means is spherical, so all centroids have norm 1 and both metrics rank alike.
    return _replaced(ivf, "clustering_index", to_gpu(faiss.IndexFlatL2(ivf.d)))


def quantizer_on_gpu(index: Any) -> AbstractContextManager[None]:
    """Within the block, rows added to an IVF index find their list on the GPU, if there is one.

    That is for flat coarse quantizers, which compare with every centroid. Only the centroids are copied, so this works
    for every code type and any number of rows.
    """
    import faiss

    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf is None or faiss.get_num_gpus() == 0 or not isinstance(faiss.downcast_index(ivf.quantizer), faiss.IndexFlat):
        return nullcontext()
    return _replaced(ivf, "quantizer", to_gpu(faiss.downcast_index(ivf.quantizer)))


@contextmanager
def _replaced(index: Any, part: str, on_gpu: Any) -> Iterator[None]:
    on_cpu = getattr(index, part)
    setattr(index, part, on_gpu)
    try:
        yield
    finally:
        setattr(index, part, on_cpu)
