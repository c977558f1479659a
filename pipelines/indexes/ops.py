"""Indexes: training, building and measuring, and the steps that every indexer needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import override

from mnemodex.indexers.base import Span
from mnemodex.pipelines.ops.base import Op, Work
from mnemodex.pipelines.plan import Unfinished
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.pipelines.vectors.queries import QuerySettings, is_matrix, question_texts
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import ENCODERS, KINDS, AnyIndex, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import All, Group, IndexKey, Read, Resources, Sample, SourceUnit, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.base import Indexer, IndexStats
    from mnemodex.pipelines.ops.base import Finished
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Stats
    from mnemodex.schemas.recipe import IndexSettings


_RETRAINED = 4
"""Centroids and quantisers are kept until the table has so many times the rows that they were trained for."""

_REPLANNED = 1.5
"""What depends on the number of rows is chosen again when there are so many times as many, or as few: a graph is built
again by then."""


class IndexerSettings(Spec):
    """An index, with the rows of its table and the dimension of the vectors, 0 where it has none.

    A shard is given the partitions of the same labels of the tables `aligned`, all partitions of the tables `whole`,
    and the intermediate results `extras`.
    """

    index: AnyIndex
    rows: Annotated[int, RunOnly()] = 0
    dimension: Annotated[int, RunOnly()] = 0
    aligned: Annotated[tuple[str, ...], RunOnly()] = ()
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
    """Builds a shard. The inputs are the table, those aligned with it, those that are read whole, and the extras."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        settings = self.settings
        parts = inputs.partitions(0, aligned=settings.aligned)
        first = 1 + len(settings.aligned)
        tables = {table: inputs.partitions(number) for number, table in enumerate(settings.whole, first)}
        extras = {name: inputs.folder(n) for n, name in enumerate(settings.extras, first + len(tables))}
        given = {"tables": tables, **extras} if tables else extras
        stats = self.indexer.build(parts, output.folder, **given)
        if self.indexer.grows:
            known = {"planned_rows": settings.rows, "shard_rows": self.indexer.shard_rows}
            stats = stats.model_copy(update={**known, "spans": tuple(_spans(inputs, first))})
        return self._finish(stats, output)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        indexer = load(KINDS.find(settings.index.type).indexer)
        found = indexer.warnings(settings.index, [part.stats for part in finished.parts])
        return [f"indexes.{finished.step.name}: {warning}" for warning in found]


def _spans(inputs: Inputs, tables: int) -> Iterator[Span]:
    """Yield what a shard is of: its partitions, each with those of the same label, which are the first inputs."""
    for parts in zip(*map(inputs.artifacts, range(tables)), strict=True):
        label = parts[0].label
        yield Span(
            label=label,
            fingerprints=tuple(part.fingerprint for part in parts),
            starts=inputs.unit.starts.get(label, (0,) * tables),
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


def index_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Yield the steps of one index of the recipe: its kind's own, or those of its indexer."""
    settings = context.recipe.indexes[name]
    with KINDS.calling(settings.type, Unfinished) as kind:
        if kind.steps:
            for step in load(kind.steps)(context, name, settings):
                # Another version of the package may build something else with the same settings.
                yield replace(step, identity=[step.identity, kind.version])
        elif kind.indexer:
            yield from indexer_steps(context, name, settings)


def indexer_steps(context: PlanContext, name: str, settings: IndexSettings) -> Iterator[Step]:
    """Train where that is needed, build a shard of every group of partitions, and measure them together."""
    kind = KINDS.find(settings.type)
    indexer_class = load(kind.indexer)
    table, vectors = indexer_class.table(settings), indexer_class.vectors(settings)
    if table is None:
        return
    # Only an index over vectors depends on how many there are; the others begin with the first partition.
    rows, dimension = (context.rows(table), context.stats(vectors).dimension) if vectors is not None else (0, 0)
    planned = context.planned_rows(name)
    if _REPLANNED * min(rows, planned) > max(rows, planned):
        # What `auto` chose stays while shards are kept.
        rows = planned
    try:
        indexer = make_indexer(settings, rows=rows, dimension=dimension)
    except RecipeError as error:
        raise RecipeError(f"indexes.{name}: {error}") from error

    def step(
        label: str,
        op: str,
        reads: list[Read],
        part: str,
        *,
        grows: bool = False,
        lasts: int = 0,
        **given: tuple[str, ...],
    ) -> Step:
        identity = indexer.identity(op, context.digest)
        versions = [indexer.version, *([indexer.measure_version] if op == "measure" else [])]
        on_gpu = op in {"train", "build"}
        return Step(
            label,
            f"mnemodex.pipelines.indexes.ops:{op.title()}Op",
            tuple(reads),
            (IndexKey(name, part),),
            IndexerSettings(index=settings, rows=rows, dimension=dimension, **given),
            identity=[kind.indexer, *versions, identity, kind.version],
            resources=Resources(gpus=indexer.gpus if on_gpu else 0, memory=indexer.memory, threads=True),
            grows=grows,
            lasts=lasts,
        )

    extras = []
    if indexer.needs_training:
        sample = Sample(indexer.training_rows, indexer.settings.seed)
        extras.append(step(f"{name}: train", "train", [Read(table, sample)], "trained", lasts=_RETRAINED))
    if (queries := getattr(settings, "queries", None)) is not None:
        extras.append(_query_step(context, name, settings, queries))
    yield from extras
    aligned, whole = indexer_class.aligned(settings), indexer_class.whole(settings)
    yield step(
        name,
        "build",
        [
            Read(table, Group(indexer.shard_rows, indexer.shard_bytes)),
            *map(Read, aligned),
            *(Read(key, All()) for key in (*whole, *(extra.result for extra in extras))),
        ],
        "",
        grows=indexer.grows,
        aligned=tuple(key.label for key in aligned),
        whole=tuple(key.label for key in whole),
        extras=tuple(extra.result.part for extra in extras),
    )
    if indexer.measured_by:
        yield step(f"{name}: recall", "measure", [Read(IndexKey(name), All())], "recall")


def _query_step(context: PlanContext, name: str, settings: Any, path: str) -> Step:
    """Return the step that encodes real questions, with which recall is measured."""
    spec: Any = context.recipe.embed[settings.embed]
    content = context.content(path) if is_matrix(path) else fingerprint(question_texts(path, settings.type))
    return Step(
        f"{name}: queries",
        "mnemodex.pipelines.vectors.queries:QueriesOp",
        (),
        (IndexKey(name, "probes"),),
        QuerySettings(encoder=spec, index=settings.type, path=path),
        identity=[spec.identity(step="queries", digest=context.digest), ENCODERS.find(spec.encoder).version],
        resources=MODEL,
        source=(SourceUnit("queries", content, ""),),
    )
