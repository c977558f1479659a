"""The steps of an indexer as ops: train, build, merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.kinds import KINDS, AnyIndex, load
from mnemodex.schemas.spec import RunOnly, Spec

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.base import Indexer, IndexStats
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.manifest import Stats


class IndexerSettings(Spec):
    """An index, and what its steps read.

    Attributes:
        index: its settings.
        rows: of the whole table.
        dimension: of its vectors; 0 where it has none.
        beside: tables of which a shard is given the partitions of the same labels.
        whole: tables of which it is given all partitions.
        extras: names of the intermediate results that it is given.
    """

    index: AnyIndex
    rows: Annotated[int, RunOnly()] = 0
    dimension: Annotated[int, RunOnly()] = 0
    beside: Annotated[tuple[str, ...], RunOnly()] = ()
    whole: Annotated[tuple[str, ...], RunOnly()] = ()
    extras: Annotated[tuple[str, ...], RunOnly()] = ()


def make_indexer(settings: Any, *, rows: int, dimension: int) -> Indexer:
    """Return the indexer of an index's settings, over a table of so many rows and numbers a vector."""
    made: Indexer = load(KINDS.find(settings.type).indexer)(settings, rows, dimension)
    return made


class _IndexerOp(Op):
    """Makes the indexer of the settings."""

    Settings: ClassVar[type[Spec]] = IndexerSettings
    seconds_per_megabyte: ClassVar[float] = 0.5
    settings: IndexerSettings

    def __init__(self, settings: IndexerSettings, work: Work) -> None:
        super().__init__(settings, work)
        self.indexer: Any = make_indexer(settings.index, rows=settings.rows, dimension=settings.dimension)
        self.indexer.setup(work.cpus)

    def _stats(self, stats: IndexStats, output: Output) -> Stats:
        output.rows = stats.rows
        return stats


class TrainOp(_IndexerOp):
    """Trains on a sample of all partitions."""

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Indexer.train`."""
        return self._stats(self.indexer.train(inputs.partitions(0), output.folder), output)


class BuildOp(_IndexerOp):
    """Builds a shard. The inputs are the table, the tables beside it, those that are read whole, and the extras."""

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Indexer.build`."""
        parts = inputs.partitions(0, beside=self.settings.beside)
        return self._stats(self.indexer.build(parts, output.folder, **self._given(inputs)), output)

    def _given(self, inputs: Inputs) -> dict[str, Any]:
        first = 1 + len(self.settings.beside)
        given: dict[str, Any] = {}
        if self.settings.whole:
            given["tables"] = {
                table: inputs.partitions(number) for number, table in enumerate(self.settings.whole, first)
            }
        extras: dict[str, Path] = {
            name: inputs.folder(number)
            for number, name in enumerate(self.settings.extras, first + len(self.settings.whole))
        }
        return given | extras


class MergeOp(_IndexerOp):
    """Merges all shards into one."""

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Indexer.merge`."""
        shards = [part.folder for part in inputs.partitions(0)]
        return self._stats(self.indexer.merge(shards, output.folder), output)
