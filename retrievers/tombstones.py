"""Tombstones: documents and chunks of a snapshot's files that readers leave out, until a build writes these again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import are_among, check_arrays, map_array
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


class Tombstones(NamedTuple):
    """The ids of what is left out, int64, ascending. Rows are left out by the first of these columns that they have.

    Attributes:
        doc_id: of documents.
        chunk_id: of their chunks.
        position: of their tokens, as states of language models have them.
    """

    doc_id: Int64s
    chunk_id: Int64s
    position: Int64s

    def column(self, names: list[str]) -> str | None:
        """Return by which column rows of a table with these columns are left out; None where none are."""
        return next((name for name in self._fields if name in names and len(getattr(self, name))), None)

    def mask(self, column: str, ids: Int64s) -> Bools:
        """Return which ids of a column are left out, of the shape of `ids`."""
        return are_among(ids, getattr(self, column))


def mask_errors(store: Store, part: Artifact, tombstones: Tombstones) -> Bools:
    """Return which rows of a partition of errors are about documents that are left out, bool of shape (rows,).

    Most are about none, and some that former versions wrote do not say about which.
    """
    file = next((file for file in part.files if file.path.endswith(".npy")), None)
    if file is None:
        return np.zeros(part.rows, np.bool_)
    path = store.files.local(file)
    doc_ids = map_array(path)
    check_arrays(doc_ids.shape == (part.rows,) and doc_ids.dtype == np.int64, path, "the documents and the errors")
    return tombstones.mask("doc_id", doc_ids)


def read_tombstones(store: Store, parts: Iterable[Artifact]) -> Tombstones:
    """Return what some artifacts name; most snapshots have none.

    Raises:
        CorruptFileError: one of their files is missing or damaged.
    """
    found: dict[str, list[Int64s]] = {name: [np.zeros(0, np.int64)] for name in Tombstones._fields}
    for part in parts:
        for name, ids in found.items():
            ids.append(parquet.column(store.files.local(part.file(f"/{name}.parquet")), name))
    return Tombstones(**{name: np.sort(np.concatenate(ids)) for name, ids in found.items()})
