"""The steps of a knowledge graph: triples, mentions, facts, entities, their vectors, synonyms, edges, and its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.graph.settings import GraphSettings
from mnemodex.pipelines.extractors.extract import CHUNK_COLUMNS, ExtractSettings
from mnemodex.pipelines.graph.synonyms import SynonymSettings
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.vectors.steps import embedding_key, encode_step, used_encoders
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import EXTRACTORS, load
from mnemodex.schemas.steps import All, Each, Part, Range, Read, Resources, Step
from mnemodex.schemas.tables import (
    CHUNKS,
    DOCUMENTS,
    EDGES,
    ENTITIES,
    ERRORS,
    FACTS,
    MENTIONS,
    SYNONYMS,
    TRIPLES,
    TableKey,
)
from mnemodex.schemas.triples import TripleFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe

LINES = TableKey("triple_lines", draft=True)

_BUCKET_ROWS = 1 << 20
"""Triples of one range of ids."""

_THREADS = Resources(threads=True)


def graphs(recipe: Recipe) -> dict[str, GraphSettings]:
    """Return the indexes that are built of triples."""
    return {
        name: settings
        for name, settings in recipe.indexes.items()
        if isinstance(settings, GraphSettings) and settings.has_facts
    }


def check_index(index: str, settings: GraphSettings, recipe: Recipe) -> None:
    """Refuse a graph index that cannot be built.

    Raises:
        RecipeError: there are no triples, another index wants a different graph, or a table has the name of another.
    """
    if not settings.has_facts:
        return
    if recipe.triples is None:
        msg = (
            "needs triples: add `triples: {extractor: spacy}` or `triples: {from: FILE}`, or take "
            "`method: bridge-lite`, which needs none"
        )
        raise RecipeError(msg)
    found = graphs(recipe)
    if len({(one.embed, one.synonymy) for one in found.values()}) > 1:
        msg = (
            f"the indexes {', '.join(found)} differ in `embed` or `synonymy`, but a memory has one graph: give them "
            "the same, or build two memories"
        )
        raise RecipeError(msg)
    for of in ("facts", "entities") if settings.synonymy is not None else ("facts",):
        clash = f"{settings.embed}_{of}"
        # The plan would find it too, but only when all triples are extracted.
        if clash in used_encoders(recipe):
            msg = f"the vectors of {of} would have the SQL view of the embedding {clash!r}; rename that embedding"
            raise RecipeError(msg)


def triple_steps(context: PlanContext) -> Iterator[Step]:
    """Extract triples of every partition of chunks, and gather the entities of each chunk."""
    recipe = context.recipe
    spec: Any = recipe.triples
    settings = ExtractSettings(extractor=spec, id_salt=recipe.id_salt)
    component = EXTRACTORS.find(spec.extractor)
    from_file = isinstance(spec, TripleFile)
    if isinstance(spec, TripleFile):
        yield Step(
            "triples: lines",
            "mnemodex.pipelines.extractors.sorting:SortTriples",
            (Read(DOCUMENTS, All(), ("doc_id", "key")),),
            (LINES, ERRORS),
            spec,
            identity=[spec.identity(), context.content(spec.path)],
        )
    yield Step(
        "triples",
        "mnemodex.pipelines.extractors.extract:ExtractOp",
        (
            Read(CHUNKS, Each(), CHUNK_COLUMNS),
            Read(DOCUMENTS, Each(), ("doc_id", "source", "line")),
            *([Read(LINES, Part())] if from_file else []),
        ),
        (TRIPLES, ERRORS),
        settings,
        identity=[settings.identity(digest=context.digest), load(component.make).version, component.version],
        # A server is asked `concurrency` questions at once, not that many by each worker.
        resources=Resources(workers=1) if spec.extractor == "llm" else Resources(),
    )
    yield Step(
        "mentions",
        "mnemodex.pipelines.stages.mentions:MentionStage",
        (Read(TRIPLES, Each()),),
        (MENTIONS,),
        NoSettings(),
    )


def graph_steps(context: PlanContext) -> Iterator[Step]:
    """Gather facts, entities and edges; encode them and find synonyms where a graph index needs that."""
    # A power of two, so that growth halves ranges and moves nothing else.
    ranges = Range(1 << (context.rows(TRIPLES) // _BUCKET_ROWS).bit_length())
    yield Step(
        "facts and entities",
        "mnemodex.pipelines.graph.names:NamesOp",
        (Read(TRIPLES, ranges), Read(MENTIONS, All())),
        (FACTS, ENTITIES),
        NoSettings(),
        resources=_THREADS,
    )
    settings = next(iter(graphs(context.recipe).values()), None)
    synonyms = settings is not None and settings.synonymy is not None
    if settings is not None:
        embed = str(settings.embed)
        yield encode_step(context, embed, "facts")
        if settings.synonymy is not None:
            names = encode_step(context, embed, "entities")
            yield names
            found = SynonymSettings(threshold=settings.synonymy)
            yield Step(
                "synonyms",
                "mnemodex.pipelines.graph.synonyms:SynonymsOp",
                (Read(ENTITIES, All()), Read(embedding_key(embed, "entities"), All())),
                (SYNONYMS,),
                found,
                identity=[found.identity(), names.identity],
                resources=_THREADS,
                reuse="source_id",
            )
    yield Step(
        "edges",
        "mnemodex.pipelines.graph.edges:EdgesOp",
        (Read(TRIPLES, ranges), Read(MENTIONS, All()), *([Read(SYNONYMS, All())] if synonyms else [])),
        (EDGES,),
        NoSettings(),
        resources=_THREADS,
    )
