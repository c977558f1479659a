"""What travels between the driver and its workers, as JSON: steps, units, results and failures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mnemodex.schemas.artifacts import Artifact, Frozen
from mnemodex.schemas.steps import IndexKey
from mnemodex.schemas.tables import TableKey


class ModelUse(Frozen):
    """A model that a step loads, with its hash on the driver's node."""

    name: str
    part: Literal["weights", "tokenizer", "spacy"]
    sha256: str


class TableOrder(Frozen):
    """A table of a plug-in, as workers check it.

    Attributes:
        schema_bytes: the Arrow schema, in Base64.
        id_column: the column that is unique, or None.
        parents: columns that hold ids of other tables, and the labels of these.
    """

    schema_bytes: str
    id_column: str | None
    parents: dict[str, str]


class StepOrder(Frozen):
    """A step, as workers need it.

    Attributes:
        op: `module:Class`.
        settings: of the op, as JSON.
        reads: the labels of its inputs.
        tables: those of its inputs and results that are tables of a plug-in, by label.
    """

    name: str
    op: str
    settings: str
    reads: tuple[str, ...]
    writes: tuple[TableKey | IndexKey, ...]
    models: tuple[ModelUse, ...] = ()
    tables: dict[str, TableOrder] = Field(default_factory=dict)

    @property
    def result(self) -> TableKey | IndexKey:
        """The first of what it writes."""
        return self.writes[0]


class Unit(Frozen):
    """One unit of a step: names, never rows.

    Attributes:
        step: the step's name.
        label: of its results.
        fingerprint: of its results.
        inputs: for each input of the step, the places of the artifacts that are read; or `@NAME`, a list of them.
        bucket: which of the ranges of ids it is for.
        buckets: how many there are.
        piece: which pieces of its partition it is for: the first one, and the one after the last.
        source: what a step that reads no table is given.
        starts: of partitions that are read from a row on, by label: the first row in each input.
        affinity: units of one affinity go to one worker; empty for any worker.
    """

    step: str
    label: str
    fingerprint: str
    inputs: tuple[tuple[str, ...], ...] = ()
    bucket: int = 0
    buckets: int = 1
    piece: tuple[int, int] | None = None
    source: str = ""
    starts: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    affinity: str = ""

    @property
    def id_range(self) -> tuple[int, int]:
        """The first and the last id of its range; ids are 63-bit numbers."""
        width = (1 << 63) // self.buckets
        return self.bucket * width, (self.bucket + 1) * width - 1


class Done(Frozen):
    """The results of a unit, the step's first one first."""

    artifacts: tuple[Artifact, ...]


class Failure(Frozen):
    """Why a unit has no results.

    Attributes:
        kind: the class of `mnemodex.schemas.errors`.
        message: for the user; names the step, the partition and the remedy.
        detail: the worker's traceback.
    """

    kind: str
    message: str
    detail: str


class Answer(Frozen):
    """What a worker says of a unit."""

    step: str
    label: str
    result: Done | Failure
