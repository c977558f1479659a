"""What a stage is: record batches of one table in, record batches of another out. Testable without Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mnemodex.schemas.tables import Table


class Stage(Protocol):
    """A step from partitions of one table to partitions of another.

    Attributes:
        version: part of every fingerprint; raised when the output changes.
        columns: what is read of the input table.
        table: the output table; known after `setup`.
    """

    version: ClassVar[int]
    columns: ClassVar[tuple[str, ...]]
    table: Table

    def setup(self, cpus: int) -> None:
        """Load models and tokenizers, once an actor."""

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn one input partition into one output partition, as a stream."""

    def facts(self) -> dict[str, Any]:
        """What is worth keeping of the partition that `run` just finished: token counts, rows that were cut."""
