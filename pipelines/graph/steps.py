"""The steps of a knowledge graph: triples, mentions, facts, entities, their vectors, synonyms, edges, and its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mnemodex.indexers.graph import codes
from mnemodex.indexers.settings import GraphSettings
from mnemodex.pipelines.extractors.extract import CHUNK_COLUMNS, DOCUMENT_COLUMNS, ExtractSettings
from mnemodex.pipelines.graph.codes import CodeSettings, KnownSettings
from mnemodex.pipelines.graph.parts import PARTS
from mnemodex.pipelines.graph.synonyms import SynonymSettings
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.vectors.encode import encode_step, used_encoders
from mnemodex.schemas import tables
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import EXTRACTORS, load
from mnemodex.schemas.sections import TripleFile
from mnemodex.schemas.steps import All, First, Part, Range, Read, Resources, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe

_LINES = tables.TableKey("triple_lines", draft=True)
_RANGE_ROWS = 1 << 20
"""Triples of one range of ids."""
_GRAPH = "mnemodex.pipelines.graph"
_THREADS = Resources(threads=True)


def _graphs(recipe: Recipe) -> dict[str, GraphSettings]:
    """Return the indexes that are built of triples."""
    indexes = recipe.indexes.items()
    return {name: index for name, index in indexes if isinstance(index, GraphSettings) and index.has_facts}


def check_index(index: str, settings: GraphSettings, recipe: Recipe) -> None:
    """Refuse an index without triples, or whose graph is not that of another, or a view with the name of another."""
    if not settings.has_facts:
        return
    if recipe.triples is None:
        raise RecipeError(
            "needs triples: add `triples: {extractor: spacy}` or `triples: {from: FILE}`, or set `method: "
            "bridge-lite`, which needs none"
        )
    graphs = _graphs(recipe)
    if len({(graph.embed, graph.synonymy) for graph in graphs.values()}) > 1:
        problem = f"the indexes {', '.join(graphs)} differ in `embed` or `synonymy`, but a memory has one graph"
        raise RecipeError(f"{problem}: set the same, or build two memories")
    for of in ("facts", "entities") if settings.synonymy is not None else ("facts",):
        # The plan would refuse it too, but only when all triples are extracted.
        if (view := f"{settings.embed}_{of}") in used_encoders(recipe):
            problem = f"the vectors of {of} would have the SQL view of the embedding {view!r}"
            raise RecipeError(f"{problem}; rename that embedding")


def triple_steps(context: PlanContext) -> Iterator[Step]:
    """Extract triples of every partition of chunks, gather the entities of each chunk, and sort both by ids."""
    recipe = context.recipe
    spec: Any = recipe.triples
    settings = ExtractSettings(extractor=spec, id_salt=recipe.id_salt)
    component = EXTRACTORS.find(spec.extractor)
    reads = [Read(tables.CHUNKS, columns=CHUNK_COLUMNS), Read(tables.DOCUMENTS, columns=DOCUMENT_COLUMNS)]
    if isinstance(spec, TripleFile):
        reads.append(Read(_LINES, Part()))
        op, writes = "mnemodex.pipelines.extractors.sorting:SortTriples", (_LINES, tables.ERRORS)
        identity = [spec.identity(), context.content(spec.path)]
        documents = (Read(tables.DOCUMENTS, All(), ("doc_id", "key")),)
        yield Step("triples: lines", op, documents, writes, spec, identity=identity, reuse="line")
    yield Step(
        "triples",
        "mnemodex.pipelines.extractors.extract:ExtractOp",
        tuple(reads),
        (tables.TRIPLES, tables.ERRORS, tables.EXTRACTIONS),
        settings,
        identity=[settings.identity(digest=context.digest), load(component.make).version, component.version],
        # A server is asked `concurrency` questions at once, not that many by each worker.
        resources=Resources(workers=1) if spec.extractor == "llm" else Resources(),
        reuse="extraction_id",
        reuse_from=tables.EXTRACTIONS,
    )
    stage = "mnemodex.pipelines.stages.mentions:MentionStage"
    yield Step("mentions", stage, (Read(tables.TRIPLES),), (tables.MENTIONS,), NoSettings())
    each = (Read(tables.TRIPLES), Read(tables.MENTIONS))
    yield Step("facts and entities: sort", f"{_GRAPH}.parts:PartsOp", each, PARTS, NoSettings())


def graph_steps(context: PlanContext) -> Iterator[Step]:
    """Gather facts, entities and edges; encode them and find synonyms where a graph index needs that."""
    # A power of two, so that growth halves ranges and moves nothing else.
    ranges = Range(1 << (context.rows(tables.TRIPLES) // _RANGE_ROWS).bit_length())
    parts = tuple(Read(key, ranges) for key in PARTS)
    writes = (tables.FACTS, tables.ENTITIES, tables.FACT_TEXTS, tables.NAME_TEXTS)
    yield Step("facts and entities", f"{_GRAPH}.names:NamesOp", parts[:3], writes, NoSettings(), reuse="fact_id")
    reads = [parts[3]]
    index = next(iter(_graphs(context.recipe).values()), None)
    if index is not None:
        yield encode_step(context, str(index.embed), "facts")
    if index is not None and index.synonymy is not None:
        vectors = encode_step(context, str(index.embed), "entities")
        yield vectors
        settings = SynonymSettings(threshold=index.synonymy)
        yield Step(
            "synonyms",
            f"{_GRAPH}.synonyms:SynonymsOp",
            (Read(tables.ENTITIES, All()), Read(vectors.result, All())),
            (tables.SYNONYMS,),
            settings,
            identity=[settings.identity(), vectors.identity],
            resources=_THREADS,
            reuse="source_id",
        )
        reads.append(Read(tables.SYNONYMS, All()))
    yield Step("edges", f"{_GRAPH}.edges:EdgesOp", tuple(reads), (tables.EDGES,), NoSettings(), reuse="source_id")


def code_steps(context: PlanContext) -> Iterator[Step]:
    """Train and write codes of the vectors of facts and of passages, where these are too many to compare all.

    Codes are trained with at least a fourth of the rows, and again once these are four times.
    """
    for embed in sorted({str(graph.embed) for graph in _graphs(context.recipe).values()}):
        yield from _coded("facts", embed, context.rows(tables.FACTS), codes.EXACT_FACTS)
    indexes = context.recipe.indexes.values()
    for embed in sorted({str(index.embed) for index in indexes if isinstance(index, GraphSettings) and not index.of}):
        yield from _coded("passages", embed, context.rows(tables.CHUNKS), codes.EXACT_PASSAGES)


def _coded(of: Literal["facts", "passages"], embed: str, rows: int, exact: int) -> Iterator[Step]:
    if rows <= exact:
        return
    trained, written = tables.vector_codes(of, embed, trained=True), tables.vector_codes(of, embed)
    vectors = tables.TableKey("embeddings", embed, "facts" if of == "facts" else "")
    first = First(1 << ((rows.bit_length() - 1) // 2 * 2))
    settings = CodeSettings(lists=of == "facts")
    op, train = f"{_GRAPH}.codes:TrainCodesOp", (Read(vectors, first),)
    yield Step(f"{written.label}: train", op, train, (trained,), settings, identity=settings.lists, resources=_THREADS)
    op, write = f"{_GRAPH}.codes:WriteCodesOp", (Read(vectors), Read(trained, All()))
    labels = KnownSettings(vectors=vectors.label, trained=trained.label)
    reuse = "fact_id" if of == "facts" else "chunk_id"
    yield Step(written.label, op, write, (written,), labels, resources=_THREADS, reuse=reuse)


def passage_steps(context: PlanContext) -> Iterator[Step]:
    """Count the words of every partition of chunks, and find the names in it, where a graph index needs that."""
    indexes = context.recipe.indexes.values()
    if any(isinstance(index, GraphSettings) and index.of is None for index in indexes):
        reads = (Read(tables.CHUNKS, columns=("chunk_id", "title", "text")),)
        yield Step("passage words", f"{_GRAPH}.passages:PassagesOp", reads, (tables.PASSAGE_WORDS,), NoSettings())
