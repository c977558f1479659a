"""The steps of an indexer as ops: train, build, measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import override

from mnemodex.indexers.base import Span
from mnemodex.pipelines.ops.base import Op, Work
from mnemodex.schemas.kinds import KINDS, AnyIndex, load
from mnemodex.schemas.spec import RunOnly, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.base import Indexer, IndexStats
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.manifest import Stats


class IndexerSettings(Spec):
    """An index, with the rows of its table and the dimension of the vectors, 0 where it has none.

    A shard is given the partitions of the same labels of the tables `beside`, all partitions of the tables `whole`, and
    the intermediate results `extras`.
    """

    index: AnyIndex
    rows: Annotated[int, RunOnly()] = 0
    dimension: Annotated[int, RunOnly()] = 0
    beside: Annotated[tuple[str, ...], RunOnly()] = ()
    whole: Annotated[tuple[str, ...], RunOnly()] = ()
    extras: Annotated[tuple[str, ...], RunOnly()] = ()


def make_indexer(settings: Any, *, rows: int, dimension: int) -> Indexer:
    """Return the indexer of an index's settings, over a table of so many rows and numbers a vector."""
    indexer: Indexer = load(KINDS.find(settings.type).indexer)(settings, rows, dimension)
    return indexer


class _IndexerOp(Op):
    """Runs one step of the indexer of the settings."""

    Settings = IndexerSettings
    seconds_per_megabyte = 0.5
    settings: IndexerSettings

    def __init__(self, settings: IndexerSettings, work: Work) -> None:
        super().__init__(settings, work)
        self.indexer: Any = make_indexer(settings.index, rows=settings.rows, dimension=settings.dimension)
        self.indexer.setup(work.cpus)

    def _finish(self, stats: IndexStats, output: Output) -> Stats:
        output.rows = stats.rows
        return stats


class TrainOp(_IndexerOp):
    """Trains on a sample of all partitions."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        partitions = inputs.partitions(0)
        stats = self._finish(self.indexer.train(partitions, output.folder), output)
        return stats.model_copy(update={"rows_read": sum(part.rows for part in partitions)})


class BuildOp(_IndexerOp):
    """Builds a shard. The inputs are the table, the tables beside it, those that are read whole, and the extras."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        settings = self.settings
        parts = inputs.partitions(0, beside=settings.beside)
        first = 1 + len(settings.beside)
        tables = {table: inputs.partitions(number) for number, table in enumerate(settings.whole, first)}
        extras = {name: inputs.folder(n) for n, name in enumerate(settings.extras, first + len(tables))}
        given = {"tables": tables, **extras} if tables else extras
        stats = self.indexer.build(parts, output.folder, **given)
        if self.indexer.grows:
            known = {"planned_rows": settings.rows, "shard_rows": self.indexer.shard_rows}
            stats = stats.model_copy(update={**known, "spans": tuple(_spans(inputs, first))})
        return self._finish(stats, output)


def _spans(inputs: Inputs, aligned: int) -> Iterator[Span]:
    """Yield what a shard is of: its partitions, each with those beside it, which are the first inputs."""
    for parts in zip(*map(inputs.artifacts, range(aligned)), strict=True):
        label = parts[0].label
        yield Span(
            label=label,
            fingerprints=tuple(part.fingerprint for part in parts),
            starts=inputs.unit.starts.get(label, (0,) * aligned),
            stops=tuple(part.rows for part in parts),
        )


class MeasureOp(_IndexerOp):
    """Measures the recall of all shards together."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        shards = [path.parent for path in inputs.files(0, self.indexer.measured_by)]
        measured: Stats = self.indexer.measure(shards)
        (output.folder / "recall.json").write_text(measured.model_dump_json(), encoding="utf-8")
        return measured
