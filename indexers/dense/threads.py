"""The one place that decides how many threads FAISS and hnswlib use."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_chosen = SimpleNamespace(cpus=0)


def set_threads(cpus: int) -> None:
    """Let every later build and search of this process use `cpus` threads at most.

    Both libraries take every core of the machine otherwise, and several actors on one machine would fight for them.

    Args:
        cpus: threads a call, at least 1.
    """
    if cpus < 1:
        raise ValueError(f"at least one thread is needed, not {cpus}")
    _chosen.cpus = cpus
    use_threads()


def use_threads() -> int:
    """Apply the chosen number to the calling thread, and return it.

    OpenMP keeps the number for each thread that calls it, so one call at the start of a process does not reach the
    threads of a server's pool; every search and build therefore calls this first.
    """
    import faiss

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
