"""What a calibration measured: builds of a sample, and indexes over vectors by themselves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mnemodex.schemas.artifacts import Frozen


class UnitCost(Frozen):
    """What one unit took: the rows that it gave, CPU seconds, and bytes by the names of its files."""

    rows: int
    cpu: float
    files: dict[str, int]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


class ResultCost(Frozen):
    """The units of one result of a build, in their order.

    Attributes:
        cut: a unit a partition of documents, a unit for so many rows, one a range of ids, or one for all.
        shard_rows: rows of a unit at most, where it is for so many rows.
    """

    cut: Literal["partitions", "shards", "ranges", "whole"]
    units: tuple[UnitCost, ...]
    shard_rows: int = 0

    @property
    def rows(self) -> int:
        """Rows of all units."""
        return sum(unit.rows for unit in self.units)

    @property
    def cpu(self) -> float:
        """CPU seconds of all units."""
        return sum(unit.cpu for unit in self.units)

    @property
    def bytes(self) -> int:
        """Bytes of all units."""
        return sum(unit.bytes for unit in self.units)


class TrialBuild(Frozen):
    """A build of a part of the sample, in a process of its own with one CPU.

    Attributes:
        documents: of the sample, or pairs.
        source_bytes: of their lines.
        cpu: CPU seconds of the process, from start to end.
        seconds: wall time.
        peak_bytes: memory of the process at most.
        results: by their labels.
    """

    documents: int
    source_bytes: int
    cpu: float
    seconds: float
    peak_bytes: int
    results: dict[str, ResultCost]


class VectorTrial(Frozen):
    """An index over vectors, built by itself.

    Attributes:
        rows: of the index.
        dimension: of its vectors.
        lists: inverted lists; 0 without any.
        parameter: whose values the probes try; none of an index that looks at every row.
        values: that were tried, one at least.
        probes: searches that measured its recall.
        train: CPU seconds of training, and so are the next three.
        add: of adding the rows.
        exact: of the exact search of the probes.
        probe: of searching the index for the probes, with every value of its parameter.
        bytes: of the index's own file.
        cache: bytes of the CPU's largest cache.
        search: CPU seconds of a query in a batch, at the value that reaches the target recall.
    """

    rows: int
    dimension: int
    lists: int
    parameter: str | None
    values: int
    probes: int
    train: float
    add: float
    exact: float
    probe: float
    bytes: int
    cache: int
    search: float


class ModelUse(Frozen):
    """What a model reads of a document: tokens, each of which is multiplied with so many numbers."""

    tokens: float
    parameters: int


class SearchTrial(Frozen):
    """CPU seconds of a question in a batch, by the index, of a memory of so many documents."""

    documents: int
    seconds: dict[str, float]


class Calibration(Frozen):
    """Everything that a plan is computed from; a JSON file keeps it.

    Attributes:
        recipe: hash of the recipe without its paths.
        machine: what it was measured on, in words.
        drawn: how the sample was chosen, in words.
        load: of the machine meanwhile, processes that wanted a CPU.
        trials: builds, from the smallest to the largest.
        texts: a larger one of what no model reads, of a recipe that has models.
        ray: builds by Ray with all of its processes, the smallest one first.
        ray_cpus: that Ray had.
        hashed: bytes that a CPU hashes in a second (SHA-256).
        vectors: of each index over vectors, by the index's name, from the smallest to the largest.
        layouts: of these, their factory strings.
        searches: of the smallest and of the largest build, and of the one of texts.
        models: that make vectors or states, by the label of the table of these.
    """

    recipe: str
    machine: str
    drawn: str
    load: float
    trials: tuple[TrialBuild, ...] = Field(min_length=1)
    texts: tuple[TrialBuild, ...] = Field(max_length=1)
    ray: tuple[TrialBuild, ...] = Field(min_length=1)
    ray_cpus: int
    hashed: float
    vectors: dict[str, tuple[VectorTrial, ...]]
    layouts: dict[str, str]
    searches: tuple[SearchTrial, ...]
    models: dict[str, ModelUse]
