"""Where the rows of hits are read from: the files of a snapshot, or what a server sent with the hits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Array, Int64s


class RowSource(Protocol):
    """Rows of chunks and of their documents by partition and position.

    A chunk's document is in the partition of documents that has the label of the chunk's.
    """

    @property
    def name(self) -> str:
        """The name of the snapshot."""

    @property
    def fields(self) -> Mapping[str, str]:
        """The columns of metadata that documents have, and the names of their types."""

    @property
    def metadata_fields(self) -> Sequence[str]:
        """The names of all fields of the documents' metadata; `a.b` is the field b of the object a."""

    def column(self, table: str, label: str, name: str) -> Array:
        """Return one column of a partition as an array."""

    def take(self, table: str, label: str, rows: Sequence[int] | Int64s, columns: Sequence[str]) -> pa.Table:
        """Return columns of some rows of a partition, in the order given."""
