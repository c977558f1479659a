"""What an op is: the inputs of a unit in, files and rows out. Ops know nothing of Ray."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.indexers.arrays import Bools
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableSpec

_S = TypeVar("_S", bound=Stats)


@dataclass(frozen=True, slots=True)
class Work:
    """What an op may use of its worker.

    Attributes:
        cpus: threads.
        store: the memory that is built.
        objects: what the caller of `build` passed, by the name of its section: `chunks`, `embed/NAME`.
    """

    cpus: int
    store: Store
    objects: Mapping[str, Any] = field(default_factory=dict)


class NoSettings(Spec):
    """Of ops that have none."""


class Finished(Protocol):
    """The results of a step so far, for its op to judge."""

    step: Step

    @property
    def parts(self) -> Sequence[Artifact]:
        """The first results of its units."""

    @property
    def rows(self) -> int:
        """Rows of these results."""

    def first_error(self) -> str:
        """Return where the first row that was left out is and why, as the end of a sentence; empty without one."""

    def total(self, kind: type[_S]) -> _S:
        """Return the sums of an op's numbers and `Counter`s over these results; other fields have their defaults."""
        sums: dict[str, Any] = {}
        for part in self.parts:
            for name, value in part.stats.of(kind):
                if isinstance(value, Counter):
                    sums.setdefault(name, Counter()).update(value)
                elif isinstance(value, int | float):
                    sums[name] = sums.get(name, 0) + value
        return kind(**sums)


class _Judge:
    """What the driver asks of the class of an op or a stage."""

    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the results change."""
    Settings: ClassVar[type[Spec]] = NoSettings
    tries_again: ClassVar[bool] = False
    """Whether what failed may succeed in another build, as a server's answers: where too much did, units with failures
    are not finished."""
    seconds_per_megabyte: ClassVar[float] = 0.1
    """CPU seconds that a megabyte of the input takes, roughly: decides whether a build is worth starting Ray."""

    @classmethod
    def probe(cls, settings: Any, store: Store) -> list[str]:
        """Ask the servers that a step needs one question each, before anything is computed; return warnings.

        Raises:
            MnemodexError: a server does not answer it.
        """
        return []

    @classmethod
    def check(cls, finished: Finished) -> None:
        """Refuse results after a unit that left rows out.

        Raises:
            MnemodexError: more rows failed than the recipe accepts.
        """

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Judge the complete step; return warnings: what was left out, cut, not found.

        Raises:
            MnemodexError: nothing can be built of it.
        """
        return []

    @classmethod
    def note(cls, finished: Finished) -> str:
        """Return one line for the closing table: speed, cost."""
        return ""


class Op(_Judge):
    """Computes units of one step, by its settings, in a worker that keeps it from one unit to the next."""

    def __init__(self, settings: Any, work: Work) -> None:
        self.settings = settings
        self.work = work

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """Compute a unit; may be called again for a unit whose former worker died.

        Raises:
            MnemodexError: what is wrong with the inputs.
        """
        raise NotImplementedError


class Stage(_Judge):
    """A step over the rows of one table: record batches in, record batches out. Testable without a worker.

    Attributes:
        columns: what is read of the input.
        table: what the output's rows are; known after `setup`.
    """

    columns: ClassVar[tuple[str, ...]]
    table: TableSpec

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def setup(self, work: Work) -> None:
        """Load models and tokenizers, once a worker."""

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn one input partition into one output partition, as a stream."""
        raise NotImplementedError

    def stats(self) -> Stats:
        """Return the stats of the partition that `run` just finished."""
        return Stats()


class StageOp(Op):
    """Runs a stage as an op; rows of the current snapshot are taken over where the step reuses them by id."""

    def __init__(self, stage: Stage, work: Work) -> None:
        super().__init__(None, work)
        self._stage = stage
        stage.setup(work)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        stage, former = self._stage, inputs.former
        batches = inputs.batches(0, stage.columns)
        if not former:
            output.write(stage.table, stage.run(batches))
            return stage.stats()
        column = former.column
        ids = inputs.ids(0, column)
        known = former.take(ids, stage.table.schema)
        new = ~np.isin(ids, numbers(known[column]))
        rows = pa.concat_tables([known, pa.Table.from_batches(stage.run(_filter(batches, new)), known.schema)])
        # As if all had been computed.
        positions = find_ids(ids, numbers(rows[column]))
        in_order = rows.take(to_column(np.argsort(positions, kind="stable"), pa.int64())).combine_chunks()
        output.write(stage.table, in_order.to_batches(max_chunksize=2048))
        return stage.stats().model_copy(update={"reused": len(known)})


def _filter(batches: Iterator[pa.RecordBatch], keep: Bools) -> Iterator[pa.RecordBatch]:
    """Yield the rows for which `keep`, of shape (rows of all batches,), is true."""
    start = 0
    for batch in batches:
        kept = batch.take(to_column(np.flatnonzero(keep[start : start + batch.num_rows]), pa.int64()))
        start += batch.num_rows
        if kept.num_rows:
            yield kept


def make_op(kind: type[Op | Stage], settings: str, work: Work) -> Op:
    """Return an op, or a stage as one, with settings that are given as JSON."""
    checked = kind.Settings.model_validate_json(settings)
    return kind(checked, work) if issubclass(kind, Op) else StageOp(kind(checked), work)
