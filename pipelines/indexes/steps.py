"""The steps of indexes: what every indexer needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.indexes.ops import IndexerSettings, make_indexer
from mnemodex.pipelines.vectors.queries import QuerySettings, question_texts
from mnemodex.pipelines.vectors.steps import MODEL
from mnemodex.schemas.kinds import ENCODERS, KINDS, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.steps import All, Each, Group, IndexKey, Read, Resources, Sample, SourceUnit, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.base import Indexer
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import IndexSettings

_OPS = "mnemodex.pipelines.indexes.ops"
THREADS = Resources(gpus=1, threads=True)


def index_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Yield the steps of one index of the recipe: its kind's own, or those of its indexer."""
    settings = context.recipe.indexes[name]
    kind = KINDS.find(settings.type)
    if kind.steps:
        for step in load(kind.steps)(context, name, settings):
            # The next version of the package may make something else of the same settings.
            yield replace(step, identity=[step.identity, kind.version])
    elif kind.indexer:
        yield from indexer_steps(context, name, settings)


def indexer_steps(context: PlanContext, name: str, settings: IndexSettings) -> Iterator[Step]:
    """Train where that is needed, build a shard of every group of partitions, and merge where that is possible."""
    kind = load(KINDS.find(settings.type).indexer)
    table = kind.table(settings)
    if table is None:
        return
    vectors = kind.vectors(settings)
    # Only an index over vectors depends on how many there are; the others begin with the first partition.
    rows, dimension = (context.rows(table), context.stats(vectors).dimension) if vectors is not None else (0, 0)
    indexer = make_indexer(settings, rows=rows, dimension=dimension)
    extras = list(_extras(context, name, settings, indexer))
    yield from extras
    beside, whole = kind.beside(settings), kind.whole(settings)
    given = IndexerSettings(
        index=settings,
        rows=rows,
        dimension=dimension,
        beside=tuple(key.label for key in beside),
        whole=tuple(key.label for key in whole),
        extras=tuple(step.result.part for step in extras if isinstance(step.result, IndexKey)),
    )
    result = IndexKey(name)
    counted = IndexKey(name, "parts") if indexer.merges else result
    yield Step(
        name,
        f"{_OPS}:BuildOp",
        (
            Read(table, Group(indexer.shard_rows, indexer.shard_bytes)),
            *(Read(key, Each()) for key in beside),
            *(Read(key, All()) for key in whole),
            *(Read(step.result, All()) for step in extras),
        ),
        (counted,),
        given,
        identity=_identity(indexer, "build", context),
        resources=THREADS,
    )
    if indexer.merges:
        yield Step(
            f"{name}: merge",
            f"{_OPS}:MergeOp",
            (Read(counted, All()),),
            (result,),
            given,
            identity=_identity(indexer, "merge", context),
            resources=THREADS,
        )


def _extras(context: PlanContext, name: str, settings: IndexSettings, indexer: Indexer) -> Iterator[Step]:
    """Yield the steps that give what shards are built with: a trained index, the vectors of real questions."""
    table = indexer.table(settings)
    if indexer.needs_training and table is not None:
        yield Step(
            f"{name}: train",
            f"{_OPS}:TrainOp",
            (Read(table, Sample(indexer.training_rows, indexer.settings.seed)),),
            (IndexKey(name, "trained"),),
            IndexerSettings(index=settings, rows=context.rows(table), dimension=indexer.dimension),
            identity=_identity(indexer, "train", context),
            resources=THREADS,
        )
    queries: str | None = getattr(settings, "queries", None)
    if queries is not None:
        spec: Any = context.recipe.embed[getattr(settings, "embed", "")]
        yield Step(
            f"{name}: queries",
            "mnemodex.pipelines.vectors.queries:QueriesOp",
            (),
            (IndexKey(name, "probes"),),
            QuerySettings(encoder=spec, path=queries),
            identity=[spec.identity(step="queries", digest=context.digest), ENCODERS.find(spec.encoder).version],
            resources=MODEL,
            source=(SourceUnit("queries", fingerprint(question_texts(queries)), ""),),
        )


def _identity(indexer: Indexer, step: str, context: PlanContext) -> Any:
    kind = KINDS.find(indexer.settings.type)
    return [kind.indexer, indexer.version, indexer.settings.identity(step=step, digest=context.digest), kind.version]
