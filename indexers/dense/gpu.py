"""Where FAISS works on a GPU: k-means, assigning rows to lists, and exact search while an index is built."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def to_gpu(index: Any) -> Any:
    """Copy a FAISS index to all visible GPUs; without one, return the index itself."""
    import faiss

    return faiss.index_cpu_to_all_gpus(index) if faiss.get_num_gpus() > 0 else index


@contextmanager
def clustering_on_gpu(index: Any) -> Iterator[None]:
    """Within the block, the k-means of an IVF index assigns points on the GPU, if there is one."""
    import faiss

    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf is None or faiss.get_num_gpus() == 0:
        yield
        return
    # L2 serves inner product too: its k-means is spherical, so all centroids have norm 1 and both metrics rank alike.
    assigner = to_gpu(faiss.IndexFlatL2(ivf.d))
    ivf.clustering_index = assigner
    try:
        yield
    finally:
        ivf.clustering_index = None


@contextmanager
def quantizer_on_gpu(index: Any) -> Iterator[None]:
    """Within the block, rows added to an IVF index find their list on the GPU, if there is one.

    That is for flat coarse quantizers, which compare with every centroid. Only the centroids are copied, so this works
    for every code type and any number of rows.
    """
    import faiss

    ivf: Any = faiss.try_extract_index_ivf(index)
    if ivf is None or faiss.get_num_gpus() == 0 or not isinstance(faiss.downcast_index(ivf.quantizer), faiss.IndexFlat):
        yield
        return
    on_cpu = ivf.quantizer
    on_gpu = to_gpu(faiss.downcast_index(on_cpu))
    ivf.quantizer = on_gpu
    try:
        yield
    finally:
        ivf.quantizer = on_cpu
