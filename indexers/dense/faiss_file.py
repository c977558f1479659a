"""Reading files of FAISS: it checks sizes and links as it reads, but not all that a search takes for granted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READING = threading.Lock()
"""FAISS has one limit for the whole process."""


def read_index(path: Path, flags: int = 0) -> Any:
    """Read a FAISS file whose checksum was verified; a `CorruptFileError` says what FAISS or a search would refuse."""
    import faiss

    try:
        with _READING:
            # No vector of a file is longer than it; inverted lists that are empty are not written, but take room.
            faiss.set_deserialization_vector_byte_limit(16 * path.stat().st_size + (1 << 20))
            # What FAISS computes of product quantisers is no part of the file, and may be much larger.
            index = faiss.read_index(str(path), flags | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    except (RuntimeError, MemoryError) as error:
        reason = error if str(error) else "it needs more memory than there is"
        raise CorruptFileError(f"{path}: FAISS cannot read it ({reason}); build the index again") from error
    fault = next(_faults(index), None)
    if fault is not None:
        raise CorruptFileError(f"{path}: {fault}; build the index again")
    lists = faiss.try_extract_index_ivf(index)
    codes = faiss.downcast_index(lists) if lists is not None else None
    if isinstance(codes, faiss.IndexIVFPQ):
        codes.precompute_table()
    return index


def _faults(read: Any) -> Iterator[str]:
    import faiss

    index: Any = faiss.downcast_index(read)
    if not index.is_trained:
        yield f"its {type(index).__name__} is not trained"
    lists = getattr(index, "invlists", None)
    if lists is not None and lists.compute_ntotal() != index.ntotal:
        yield f"its lists hold {lists.compute_ntotal()} rows, not {index.ntotal}"
    for name in ("index", "base_index", "refine_index", "quantizer", "storage"):
        inner = getattr(index, name, None)
        if inner is None:
            continue
        rows = index.nlist if name == "quantizer" else index.ntotal
        if inner.ntotal != rows:
            yield f"its {name} holds {inner.ntotal} rows, not {rows}"
        yield from _faults(inner)
