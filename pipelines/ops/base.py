"""What an op is: the inputs of a unit in, files and rows out. Ops know nothing of Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mnemodex.schemas.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.manifest import Artifact, Stats
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableSpec


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
    """What a step has given so far, for its op to judge."""

    step: Step

    @property
    def parts(self) -> Sequence[Artifact]:
        """The first results of its units."""

    @property
    def rows(self) -> int:
        """Rows of them all."""

    def first_error(self) -> str:
        """Where the first row that was left out is and why, as the end of a sentence; empty without one."""


class Op:
    """Computes units of one step, in a worker that keeps it from one unit to the next.

    Args:
        settings: of the step.
        work: what it may use of its worker.
    """

    version: ClassVar[int] = 1
    """Part of every fingerprint: raised when the results change."""
    Settings: ClassVar[type[Spec]] = NoSettings
    seconds_per_megabyte: ClassVar[float] = 0.1
    """CPU seconds that a megabyte of the input takes, roughly: it decides whether a build is worth a Ray."""

    def __init__(self, settings: Any, work: Work) -> None:
        self.settings = settings
        self.work = work

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """Compute a unit.

        May be called again for a unit whose former worker died.

        Raises:
            MnemodexError: what is wrong with the inputs.
        """
        raise NotImplementedError

    @classmethod
    def check(cls, finished: Finished) -> None:
        """Refuse results that are not worth going on with; called on the driver, after each unit that left rows out.

        Raises:
            MnemodexError: more rows failed than the recipe accepts.
        """

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Judge the complete step, on the driver; return what a user should know: what was left out, cut, not found.

        Raises:
            MnemodexError: nothing can be built of it.
        """
        return []

    @classmethod
    def note(cls, finished: Finished) -> str:
        """Return one line for the closing table: speed, cost."""
        return ""


class Stage(Protocol):
    """A step over the rows of one table: record batches in, record batches out. Testable without a worker.

    Attributes:
        version: part of every fingerprint; raised when the output changes.
        Settings: the class of its settings.
        columns: what is read of the input.
        table: what the output's rows are; known after `setup`.
    """

    version: ClassVar[int]
    Settings: ClassVar[type[Spec]]
    columns: ClassVar[tuple[str, ...]]
    table: TableSpec

    def __init__(self, settings: Any) -> None:
        """Take the settings."""

    def setup(self, work: Work) -> None:
        """Load models and tokenizers, once a worker."""

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn one input partition into one output partition, as a stream."""

    def stats(self) -> Stats:
        """Return what is worth keeping of the partition that `run` just finished: tokens, rows that were cut."""

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """See `Op.complete`; may be left out."""


class StageOp(Op):
    """Runs a stage as an op."""

    def __init__(self, stage: Stage, work: Work) -> None:
        super().__init__(None, work)
        self._stage = stage
        stage.setup(work)

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """Write what the stage makes of the partition."""
        batches = inputs.batches(0, self._stage.columns)
        output.write(self._stage.table, self._stage.run(batches))
        return self._stage.stats()


def make_op(kind: Any, settings: str, work: Work) -> Op:
    """Return an op, or a stage as one, with settings that are given as JSON."""
    checked = kind.Settings.model_validate_json(settings)
    made: Op = kind(checked, work) if issubclass(kind, Op) else StageOp(kind(checked), work)
    return made
