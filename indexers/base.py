"""Indexers, in FAISS's words: train on a sample, build shards from partitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from mnemodex.schemas.artifacts import Frozen
from mnemodex.schemas.manifest import Recall, SearchParameters, Stats
from mnemodex.schemas.tables import CHUNKS, TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.schemas.spec import Digest


class Span(Frozen):
    """The rows of a shard that are of one partition, and of the partitions of the same label.

    Attributes:
        label: of the partition.
        fingerprints: of the partition and of those of the same label.
        starts: the first row of each.
        stops: the row of each after the last.
    """

    label: str
    fingerprints: tuple[str, ...]
    starts: tuple[int, ...]
    stops: tuple[int, ...]


class IndexStats(Stats):
    """Statistics of a step of an indexer.

    Attributes:
        rows: of the shard, or of the sample.
        spans: what a shard is of.
        planned_rows: rows of the whole table when the index was laid out.
        shard_rows: what a shard could hold.
    """

    rows: int
    spans: tuple[Span, ...] = ()
    planned_rows: int = 0
    shard_rows: int = 0


@dataclass(frozen=True, slots=True)
class InputPartition:
    """One partition of a table, or one shard of an index in a folder, as checked files.

    Attributes:
        rows: of its files.
        files: its files by ending: `parquet`, and for embeddings `npy` (float32 or float16 matrix of shape (rows, d)).
        aligned: the partition of the same label of each table that `Indexer.aligned` names, by the table's label.
        stats: what was measured when it was made.
        start: the first row to index; those before it are in another shard.
    """

    label: str
    rows: int
    files: dict[str, Path]
    aligned: dict[str, InputPartition] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    folder: Path | None = None
    start: int = 0


class Measured(Stats):
    """The measurement of an index: how much of an exact search it finds, and what the retriever searches with."""

    recall: Recall
    search: SearchParameters


class Indexer:
    """Turns table partitions into index files; a step that an index does not need is absent.

    The steps are `train(partitions, out)` where `needs_training`, `build(partitions, out)` for every shard (with
    `trained=` and `probes=` where these exist), and `measure(shards)` where `measured_by` is a file. The first two
    write files into the empty folder `out`, and nothing elsewhere, and return `IndexStats`. Steps run in worker
    processes, so they are given paths, never arrays.

    Args:
        settings: of the recipe, checked. The attribute has what the rows make of them: `identity` is that of these.
        rows: of the whole table; 0 for an index that is not over vectors.
        dimension: of its vectors; 0 where it has none.
    """

    version: ClassVar[int]
    """Part of every fingerprint: raised when the files or their content change."""
    measure_version: ClassVar[int] = 1
    """Part of the fingerprint of `measure` alone."""
    id_column: ClassVar[str] = "chunk_id"
    """The ids that the index keeps, in `IDs.npy` (`chunk_ids.npy`) of each shard."""
    needs_training: bool = False
    training_rows: int = 0
    """Rows of the sample that it is trained with."""
    shard_rows: int = 1_000_000
    """Rows of the partitions that are built into one shard."""
    gpus: int = 0
    """GPUs that training and building use where there are any."""
    memory: int = 0
    """Bytes that building a shard takes besides what is mapped."""
    shard_bytes: int | None = None
    """Bytes of the files of these partitions, where rows differ much in size."""
    grows: ClassVar[bool] = False
    """Whether shards may be of any rows of the table: a shard is kept while its rows stay, and new rows are another
    one. `build` is given partitions of which it indexes the rows from `start` on."""
    takes_off: ClassVar[bool] = False
    """Whether what a tombstone names is written by `build_left_out`, and its counts are taken off."""
    measured_by: ClassVar[str] = ""
    """The file of each shard that `measure` reads; empty for an index that is exact by construction of its scores."""

    def __init__(self, settings: Any, rows: int, dimension: int) -> None:
        self.settings = settings
        self.dimension = dimension

    def identity(self, step: str, digest: Digest) -> dict[str, Any]:
        """Return what of the settings decides the files of a step."""
        found: dict[str, Any] = self.settings.identity(step=step, digest=digest)
        return found

    def setup(self, cpus: int) -> None:
        """Prepare a worker that may use so many CPUs; called once, before any step."""

    @classmethod
    def table(cls, settings: Any) -> TableKey | None:
        """Return the table that the index is built over; None for an index without files."""
        return cls.vectors(settings) or CHUNKS

    @staticmethod
    def vectors(settings: Any) -> TableKey | None:
        """Return the table whose vectors are indexed; None where there are none."""
        return None

    @staticmethod
    def asked(question: str) -> str:
        """Return the text that a search of the index encodes for a question."""
        return question

    @staticmethod
    def aligned(settings: Any) -> tuple[TableKey, ...]:
        """Return further tables of which a shard is built, from the partitions of the same labels.

        It keeps the `Rows` of each in a folder of that name.
        """
        return ()

    @staticmethod
    def whole(settings: Any) -> tuple[TableKey, ...]:
        """Return further tables that a shard is built from, all of each: `build` is given them as `tables`."""
        return ()

    @classmethod
    def warnings(cls, settings: Any, shards: Sequence[Stats]) -> list[str]:
        """Return what is to be said of shards, given what `build` returned of each: what was missing, cut, ignored."""
        return []

    def build_left_out(self, partition: InputPartition, out: Path) -> None:
        """Write what is counted of rows that are left out, into an empty folder; not called without `takes_off`."""
        raise NotImplementedError

    def measure(self, shards: list[Path]) -> Measured:
        """Return the recall of the finished shards together; not called without `measured_by`."""
        raise NotImplementedError
