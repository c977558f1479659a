"""The manifest of a build: entries of its tables, indexes and models."""

from __future__ import annotations

import platform
from functools import cache
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.base import Measured
from mnemodex.indexers.encoders import encoder_hash
from mnemodex.indexers.encoders.own import own_of
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.pipelines.actor import installed
from mnemodex.pipelines.lm.states import StateStats
from mnemodex.pipelines.stages.lm_tokens import TokenStats
from mnemodex.pipelines.vectors.encode import EncodeOutcome
from mnemodex.retrievers.fitting import Fitted
from mnemodex.retrievers.qa.abstention import Calibrated
from mnemodex.schemas.errors import PluginError
from mnemodex.schemas.kinds import KINDS, load
from mnemodex.schemas.manifest import (
    Artifacts,
    EncoderEntry,
    IndexEntry,
    LanguageModelEntry,
    Manifest,
    TableEntry,
    fingerprint,
)
from mnemodex.schemas.steps import IndexKey, is_cache
from mnemodex.schemas.tables import DOCUMENTS, ERRORS, TableKey, TableSpec, table_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.pipelines.documents.changes import ChangeLog
    from mnemodex.pipelines.results import BuildResults
    from mnemodex.schemas.manifest import Abstention, Artifact, FittedWeights, Recall, Stats
    from mnemodex.schemas.recipe import IndexSettings, Recipe
    from mnemodex.schemas.spec import Spec
    from mnemodex.schemas.steps import Key

_LIBRARIES = (
    "mnemodex",
    "ray",
    "pyarrow",
    "duckdb",
    "numpy",
    "faiss-gpu",
    "faiss-cpu",
    "hnswlib",
    "PyStemmer",
    "tokenizers",
    "torch",
    "sentence-transformers",
)


def make_manifest(recipe: Recipe, results: BuildResults, log: ChangeLog) -> Manifest:
    """Return the manifest of a finished build; `commit` fills in its name and parent."""
    tables, caches = _tables(recipe, results)
    caches |= log.entry
    indexes = {name: _index(recipe, results, name) for name in recipe.indexes}
    return Manifest(
        name="",
        parent=None,
        parent_sha256=None,
        created="",
        recipe=recipe.model_dump(mode="json", by_alias=True),
        recipe_hash=recipe.hash(),
        tables=tables,
        indexes=indexes,
        caches=caches,
        encoders=_encoders(recipe, results),
        language_models=_language_models(recipe, results),
        versions=dict(_versions()),
    )


def declared_tables(recipe: Recipe) -> dict[TableKey, TableSpec]:
    """Return the tables that the kinds of a recipe's indexes declare besides ours."""
    found: dict[TableKey, TableSpec] = {}
    for name, settings in recipe.indexes.items():
        with KINDS.calling(settings.type) as kind:
            if kind.tables:
                declared: dict[TableKey, TableSpec] = load(kind.tables)(name, settings)
                for key in declared:
                    if table_spec(key) is not None:
                        raise PluginError(
                            f"index type {settings.type!r} declares the table {key.label}, which is ours; rename it"
                        )
                found |= declared
    return found


def low_recall(entries: dict[str, IndexEntry]) -> list[str]:
    """Return a warning for every index whose recall is not shown to reach its target."""
    return [
        _too_low(name, entry.recall)
        for name, entry in entries.items()
        if entry.recall is not None and not entry.recall.reached
    ]


def over_budget(entries: dict[str, IndexEntry]) -> list[str]:
    """Return a warning for every index that has grown beyond its memory budget: until its factory is chosen again."""
    return [
        f"index {name!r}: takes {taken:,} bytes in memory, more than its memory_budget of {budget:,}, as it has grown "
        "since its factory was chosen; `mnemodex compact` chooses it again"
        for name, entry in entries.items()
        if (budget := entry.settings.get("memory_budget")) is not None and (taken := entry.memory_bytes) > budget
    ]


def _too_low(name: str, recall: Recall) -> str:
    measured = f"recall@{recall.k} is {recall.recall:.3f} over {recall.probes} probe{'s' * (recall.probes != 1)}"
    if recall.interval:
        measured += f" (95 % interval {recall.interval})"
    if recall.recall < recall.target:
        return f"index {name!r}: {measured}, below its target of {recall.target}; try another factory or more links"
    return (
        f"index {name!r}: {measured}: the interval begins below the target of {recall.target}; give `queries` with "
        "more questions, or try another factory or more links"
    )


def entry_of(manifest: Manifest | None, key: Key) -> TableEntry | None:
    """Return a table of a snapshot, also one of intermediate results; None for what is no table of it."""
    if manifest is None or not isinstance(key, TableKey):
        return None
    return manifest.caches.get(key.path) if key.draft else manifest.tables.get(key.label)


def _tables(recipe: Recipe, results: BuildResults) -> tuple[dict[str, TableEntry], dict[str, TableEntry]]:
    declared = declared_tables(recipe)
    tables: dict[str, TableEntry] = {}
    caches: dict[str, TableEntry] = {}
    for step in results.steps.values():
        for key in step.step.writes:
            if key == ERRORS or (isinstance(key, IndexKey) and not key.part):
                continue
            entry = TableEntry(
                name=key.label,
                partitions=Artifacts(results.artifacts(key)),
                identity=step.identity,
                fields=getattr(step.step.settings, "fields", {}) if key == DOCUMENTS else {},
                **_declared(key, declared),
            )
            if is_cache(key):
                caches[key.path if isinstance(key, TableKey) else key.label] = entry
            else:
                tables[key.label] = entry
    if errors := Artifacts(results.errors()):
        tables[ERRORS.label] = TableEntry(name=ERRORS.label, partitions=errors)
    return tables, caches


def _declared(key: Key, declared: dict[TableKey, TableSpec]) -> dict[str, Any]:
    """Return what a table's entry says of its columns."""
    spec = (declared.get(key) or table_spec(key)) if isinstance(key, TableKey) and not key.draft else None
    return {"id_column": spec.id_column, "parents": dict(spec.parents)} if spec is not None else {}


def _index(recipe: Recipe, results: BuildResults, name: str) -> IndexEntry:
    settings = recipe.indexes[name]
    key, recall, calibrated = IndexKey(name), IndexKey(name, "recall"), TableKey("calibration", name)
    weights, built = IndexKey(name, "weights"), results.has(key)
    fitted = results.stats(weights).of(Fitted).fitted if results.has(weights) else None
    kind = [settings.type, KINDS.find(settings.type).version, *([fitted.model_dump()] if fitted is not None else [])]
    return index_entry(
        name,
        settings,
        identity=results.identity(key) if built else fingerprint(*kind),
        shards=results.artifacts(key) if built else (),
        measured=results.stats(recall).of(Measured) if results.has(recall) else None,
        abstention=results.stats(calibrated).of(Calibrated).abstention if results.has(calibrated) else None,
        fitted=fitted,
    )


def index_entry(
    name: str,
    settings: IndexSettings,
    *,
    identity: str,
    shards: Iterable[Artifact],
    measured: Measured | None,
    abstention: Abstention | None = None,
    fitted: FittedWeights | None = None,
) -> IndexEntry:
    """Return the entry of an index with the settings of the recipe, whose steps have an identity."""
    kind = KINDS.find(settings.type)
    table = load(kind.indexer).table(settings) if kind.indexer else None
    given = settings.model_dump(mode="json", by_alias=True)
    known = Artifacts(shards)
    return IndexEntry(
        name=name,
        type=settings.type,
        settings=given,
        fingerprint=fingerprint(identity, given, [shard.fingerprint for shard in known]),
        table=table.label if table is not None else None,
        rows=known.rows,
        shards=known,
        abstention=abstention,
        fitted=fitted,
        **({"search": measured.search, "recall": measured.recall} if measured else {}),
    )


def _encoders(recipe: Recipe, results: BuildResults) -> dict[str, EncoderEntry]:
    made = {}
    for name, spec in recipe.embed.items():
        keys = [TableKey("embeddings", name, of) for of in ("", "questions", "question_answers")]
        key = next(filter(results.has, keys), None)
        if key is not None:
            made[name] = encoder_entry(spec, results.stats(key))
    return made


def encoder_entry(spec: Spec, stats: Stats) -> EncoderEntry:
    """Return the entry of an encoder; the stats are those of a partition of its vectors."""
    outcome = stats.of(EncodeOutcome)
    return EncoderEntry(
        settings=spec.model_dump(mode="json"),
        sha256=encoder_hash(spec),
        dimension=outcome.dimension,
        max_length=outcome.max_length,
        own=own_of(spec),
    )


def _language_models(recipe: Recipe, results: BuildResults) -> dict[str, LanguageModelEntry]:
    made = {}
    for name, spec in recipe.lm.items():
        tokens = results.stats(TableKey("lm_tokens", name)).of(TokenStats)
        states = results.stats(TableKey("lm_states", name)).of(StateStats)
        made[name] = LanguageModelEntry(
            settings=spec.model_dump(mode="json"),
            sha256=model_hash(spec.model),
            tokenizer_sha256=tokens.tokenizer_sha256,
            prefix=tokens.prefix,
            dimension=states.dimension,
            vocabulary=states.vocabulary,
            max_length=spec.window,
        )
    return made


@cache
def _versions() -> dict[str, str]:
    """Return versions of the libraries that decide a memory's content."""
    return {"python": platform.python_version(), **installed(_LIBRARIES)}
