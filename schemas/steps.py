"""Steps: what is read, how it is cut into units of work, what is written, and what a worker needs for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.schemas.artifacts import Artifact
    from mnemodex.schemas.spec import Spec


@dataclass(frozen=True, slots=True, order=True)
class IndexKey:
    """The shards of an index that are searched, or with a part an intermediate result, as `counts` or `trained`."""

    index: str
    part: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.index}: {self.part}" if self.part else self.index

    @property
    def path(self) -> str:
        """Its folder below the memory."""
        return f"indexes/{self.index}"


Key = TableKey | IndexKey


def is_cache(key: Key) -> bool:
    """Whether a result is intermediate: no table that SQL asks, and no shard of an index.

    Later builds are made of it, and some of it is searched (the codes of a graph's facts): as long as a snapshot names
    it, it is not garbage.
    """
    return key.draft if isinstance(key, TableKey) else bool(key.part)


@dataclass(frozen=True, slots=True)
class Each:
    """One unit a partition. Further tables that are read so give the partition of the same label."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A unit for each of the pieces that a partition's stats name: a step that writes much more than it reads."""


@dataclass(frozen=True, slots=True)
class Pieced:
    """What was made of the pieces that the input before it names: of all of them, or for a piece of that one."""


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive partitions with together at most so many rows and bytes, or a single one.

    When a table grows at its end, only its last group changes.
    """

    rows: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A unit for each of so many equal ranges of ids. A unit is given all partitions and reads its range of them."""

    buckets: int


@dataclass(frozen=True, slots=True)
class Files:
    """A unit for each name that files of the partitions have. It is given the files of that name, of all partitions.

    Further tables that are read as `Each` give the partition of that label, if there is one.

    Nothing else of the partitions decides its results.
    """


@dataclass(frozen=True, slots=True)
class First:
    """One unit that reads the first partitions, which have so many rows together; what is appended changes nothing."""

    rows: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One unit that reads a sample of so many rows of all partitions."""

    rows: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class All:
    """All partitions; one unit where nothing else is read in parts.

    Attributes:
        max_bytes: of all partitions together; what is larger is refused. None for what is read as a stream.
    """

    max_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The file that is named after the partition, in the one result of a step that sorts rows by partition; or none."""


How = Each | Pieces | Pieced | Group | Range | Files | First | Sample | All | Part


@dataclass(frozen=True, slots=True)
class Read:
    """One input of a step.

    Attributes:
        table: a table, or the shards of an index.
        how: how it is cut into units. The first input of a step decides its units.
        columns: what is read of a table; all columns without it.
    """

    table: Key
    how: How = field(default_factory=Each)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """What a worker of a step is given.

    Attributes:
        cpus: CPUs at least.
        gpus: whole GPUs, where the cluster has any.
        memory: bytes that a unit takes besides what is mapped; 0 where that is little.
        threads: whether a unit uses more CPUs where there are fewer units than CPUs.
        workers: most workers at once; None for as many as there is room for.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int = 0
    threads: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("cpus", 1), ("gpus", 0), ("memory", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; a worker needs at least {least}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; a step needs at least 1")


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """A unit of a step that reads no table: a split of the source.

    Attributes:
        label: of its results.
        content: hash of what it reads.
        data: what its op is given.
        affinity: units of one affinity go to one worker, in their order; empty for any worker.
        bytes: that it reads.
        kept: the current snapshot's result, which is the unit's as it is.
    """

    label: str
    content: str
    data: str
    affinity: str = ""
    bytes: int = 0
    kept: Artifact | None = None


@dataclass(frozen=True)
class Step:
    """One step of a build.

    Attributes:
        name: unique in the build; what progress and the closing table call it.
        op: `module:Class` of what computes a unit; see `Op` and `Stage`.
        reads: the inputs. The first one decides the units.
        writes: the results. The first one is published last: where it is there, so are the others.
        settings: of the op.
        identity: what of them decides the results, as JSON values.
        resources: of a worker.
        reuse: the id column by which rows of the current snapshot's table are taken over instead of computed.
        reuse_from: the result that they are rows of; the first one by default.
        pass_through: whether a unit without anything to change gives its input as its result.
        grows: whether shards of the current snapshot whose rows are still where they were are kept, and rows that are
            new become shards of their own.
        lasts: the current snapshot's result is kept until the rows of the first input are so many times those that it
            was made of; 0 where every change makes another one.
        id_decides: whether rows of its tables that have equal ids are equal; not where a file says what they are.
        source: the units of a step without inputs.
        rewritten: fingerprints of units whose results were rewritten after they were computed, and their new ones.
    """

    name: str
    op: str
    reads: tuple[Read, ...]
    writes: tuple[Key, ...]
    settings: Spec
    identity: Any = None
    resources: Resources = field(default_factory=Resources)
    reuse: str | None = None
    reuse_from: TableKey | None = None
    pass_through: bool = False
    grows: bool = False
    lasts: int = 0
    id_decides: bool = True
    source: tuple[SourceUnit, ...] = ()
    rewritten: Mapping[str, str] = field(default_factory=dict)

    @property
    def result(self) -> Key:
        """What it is for: the first of what it writes."""
        return self.writes[0]
