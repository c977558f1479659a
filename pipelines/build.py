"""A build: recipe in, committed snapshot out; what is already there under its fingerprint is not computed again."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.chunkers import chunk_settings
from mnemodex.pipelines.engine import Engine
from mnemodex.pipelines.graph.check import check_graphs, graph_tables
from mnemodex.pipelines.indexing import build_indexes, check_indexes
from mnemodex.pipelines.lm.tables import check_language_models, lm_tables
from mnemodex.pipelines.pairs import check_pairs
from mnemodex.pipelines.progress import Progress, StageReport
from mnemodex.pipelines.tables import TableBuilder
from mnemodex.pipelines.triples import check_triples
from mnemodex.pipelines.uniqueness import check_ids
from mnemodex.schemas.errors import MnemodexError
from mnemodex.schemas.manifest import Manifest, TableEntry
from mnemodex.schemas.recipe import Recipe, load_recipe, parse_recipe
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from mnemodex.indexers.base import IndexSettings
    from mnemodex.pipelines.chunkers import ChunkSettings

_LIBRARIES = (
    "mnemodex",
    "ray",
    "pyarrow",
    "duckdb",
    "numpy",
    "faiss-gpu",
    "faiss-cpu",
    "hnswlib",
    "bm25s",
    "tokenizers",
    "torch",
    "sentence-transformers",
)


@dataclass
class BuildResult:
    """What a build did.

    Attributes:
        memory: the memory's folder.
        snapshot: the current snapshot's name.
        committed: whether this build made it; False where everything was there.
        stages: the closing table.
        start_seconds: what starting Ray took; 0 where nothing was to be computed.
        warnings: what the user should know: rows left out, texts cut, recall below target.
    """

    memory: Path
    snapshot: str
    committed: bool
    stages: list[StageReport]
    start_seconds: float
    warnings: list[str] = field(default_factory=list)


def build(
    recipe: str | Path | dict[str, Any] | Recipe,
    *,
    memory: str | Path | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build a memory, or bring it up to date with its recipe and source.

    Args:
        recipe: a recipe file, a mapping, or a checked recipe.
        memory: where to build; the recipe's own place by default.
        address: of a Ray cluster; a local one by default.
        progress: follows the build.

    Raises:
        RecipeError: the recipe is wrong.
        ModelError: a model or tokenizer that it names is not there.
        QueryError: a query file that it names is not there, or is none.
        SourceError: the source is missing, empty or has too many bad rows; two documents have one key. Or the file of
            triples is.
        ChatServerError: the server of a language model that it names answers nothing.
        WriterBusyError: another build writes to this memory.
        StageFailedError: a partition could not be processed.
    """
    checked = _recipe(recipe)
    name = str(recipe) if isinstance(recipe, str | Path) else "recipe"
    indexes = check_indexes(checked, name=name)
    chunks = chunk_settings(checked.chunks, name=name)
    check_pairs(checked)
    check_language_models(checked)
    check_triples(checked)
    check_graphs(checked, indexes, name=name)
    store = Store(Path(memory or checked.memory or "").absolute())
    store.prepare()
    with store.lock():
        store.clean()
        engine = Engine(store, address=address)
        try:
            return _run(store, checked, engine, progress or Progress(), chunks=chunks, indexes=indexes)
        except OSError as error:
            msg = (
                f"{store.root}: {error.strerror or error}: {error.filename or ''}; what is finished is kept: mend that "
                "and build again"
            )
            raise MnemodexError(msg) from error
        finally:
            engine.close()
            store.clean()


def _recipe(recipe: str | Path | dict[str, Any] | Recipe) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, dict):
        return parse_recipe(recipe, name="recipe", base=Path.cwd())
    return load_recipe(Path(recipe))


def _run(
    store: Store,
    recipe: Recipe,
    engine: Engine,
    progress: Progress,
    *,
    chunks: ChunkSettings,
    indexes: dict[str, IndexSettings],
) -> BuildResult:
    """All tables and indexes of a recipe, and the commit."""
    parent = store.current()
    builder = TableBuilder(store, recipe, chunks, engine, progress)
    documents, errors = builder.documents(parent.tables["documents"] if parent else None)
    tables = {"documents": documents, "chunks": builder.chunks(documents)}
    if recipe.triples is not None:
        tables["triples"], left_out = builder.triples(documents, tables["chunks"])
        tables["mentions"] = builder.mentions(tables["triples"])
        errors = TableEntry(name="errors", partitions=(*errors.partitions, *left_out.partitions))
    if errors.partitions:
        tables["errors"] = errors
    models: dict[str, Any] = {}
    for name in sorted({embed for settings in indexes.values() if (embed := getattr(settings, "embed", None))}):
        tables[f"embeddings/{name}"], models[name] = builder.embeddings(name, tables["chunks"])
    if recipe.triples is not None:
        tables |= graph_tables(store, engine, progress, indexes, tables, models=models, parent=parent)
    for name, spec in recipe.lm.items():
        former = parent.tables.get(f"lm_states/{name}") if parent else None
        made, models[f"lm/{name}"] = lm_tables(builder, name, spec, documents, tables["chunks"], former=former)
        tables |= made
    for name in recipe.ngram_pairs:
        tables[f"ngram_pairs/{name}"] = builder.ngram_pairs(name, documents)
    _check_ids(store, parent, tables)
    entries, warnings = build_indexes(store, engine, progress, indexes, tables=tables, models=models, parent=parent)
    manifest = Manifest(
        name="",
        parent=None,
        parent_sha256=None,
        created="",
        recipe=recipe.model_dump(mode="json", by_alias=True),
        recipe_hash=recipe.hash(),
        tables=tables,
        indexes=entries,
        models=models,
        versions=_versions(),
    )
    changed = parent is None or not manifest.same_files(parent)
    current = store.commit(manifest) if changed else parent
    assert current is not None  # noqa: S101 - without a parent the content has changed
    return BuildResult(
        store.root, current.name, changed, progress.stages, engine.start_seconds, [*builder.warnings, *warnings]
    )


def _check_ids(store: Store, parent: Manifest | None, tables: dict[str, TableEntry]) -> None:
    """Look for colliding ids in tables that are new."""
    pairs = [(name, "pair_id") for name in tables if name.startswith("ngram_pairs/")]
    triples = [("triples", "triple_id")] if "triples" in tables else []
    states = [(name, "position") for name in tables if name.startswith("lm_states/")]
    for name, column in (("documents", "doc_id"), ("chunks", "chunk_id"), *pairs, *triples, *states):
        if parent is None or parent.tables.get(name) != tables[name]:
            check_ids(store, tables[name].partitions, column)


def _versions() -> dict[str, str]:
    """Versions of the libraries that decide a memory's content."""
    installed = {name: metadata.version(name) for name in _LIBRARIES if _is_installed(name)}
    return {"python": platform.python_version(), **installed}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
