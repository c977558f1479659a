"""Building the indexes of a recipe: training, shards, merging, and measuring recall."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models import locate, model_hash
from mnemodex.indexers.registry import indexer_class, make_indexer
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry, fingerprint
from mnemodex.schemas.recipe import Recipe, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.base import IndexSettings
    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.store.store import Store


def check_indexes(recipe: Recipe, *, name: str) -> dict[str, IndexSettings]:
    """The settings of every index, checked, with the defaults filled in; `name` is what errors call the recipe.

    Raises:
        RecipeError: an unknown type or key, an embedding or index that the recipe does not have.
    """
    checked: dict[str, IndexSettings] = {}
    for index, given in recipe.indexes.items():
        at = f"indexes.{index}"
        try:
            checked[index] = _check_index(recipe, given, name=name, at=at)
        except RecipeError as error:
            text = str(error)
            raise RecipeError(text if text.startswith(name) else f"{name}: {at}: {text}") from error
    for index, settings in checked.items():
        checked[index] = _check_other(checked, index, settings, name=name)
    for index, settings in checked.items():
        for other in _others(settings):
            if other not in checked or other == index:
                others = ", ".join(known for known in checked if known != index) or "none"
                msg = f"{name}: indexes.{index}.of names {other!r}; other indexes are: {others}"
                raise RecipeError(msg)
    _check_cycles(checked, name=name)
    return checked


def _others(settings: IndexSettings) -> tuple[str, ...]:
    """The indexes that an index is made of."""
    of: str | tuple[str, ...] | None = getattr(settings, "of", None)
    return (of,) if isinstance(of, str) else of or ()


def _check_other(indexes: dict[str, IndexSettings], index: str, settings: IndexSettings, *, name: str) -> IndexSettings:
    """The settings of an index that searches one other, with the other's name filled in.

    Raises:
        RecipeError: the other is of a wrong type, or it is not named and the recipe does not have just one.
    """
    kind = indexer_class(settings.type).searches(settings)
    if kind is None:
        return settings
    there = [other for other, known in indexes.items() if known.type == kind]
    of: str | None = getattr(settings, "of")  # noqa: B009 - its type has the key
    if of is None and len(there) == 1:
        return settings.model_copy(update={"of": there[0]})
    if of is None:
        remedy = f"name one in `of`: {', '.join(there)}" if there else f"add one, as `{kind}s: {{type: {kind}}}`"
        msg = f"{name}: indexes.{index} needs one index of type {kind}, but the recipe has {len(there)}; {remedy}"
        raise RecipeError(msg)
    if of in indexes and of not in there:
        msg = (
            f"{name}: indexes.{index}.of names {of!r}, which is of type {indexes[of].type} and not {kind}; indexes of "
            f"that type are: {', '.join(there) or 'none'}"
        )
        raise RecipeError(msg)
    return settings


def _check_cycles(indexes: dict[str, IndexSettings], *, name: str) -> None:
    """Refuse indexes that are made of themselves."""
    try:
        TopologicalSorter({index: _others(settings) for index, settings in indexes.items()}).prepare()
    except CycleError as error:
        circle = " of ".join(reversed(error.args[1]))
        msg = f"{name}: indexes are made of each other: {circle}; leave one of them out of `of`"
        raise RecipeError(msg) from error


def _check_index(recipe: Recipe, given: dict[str, Any], *, name: str, at: str) -> IndexSettings:
    if "type" not in given:
        msg = "the key 'type' is missing"
        raise RecipeError(msg)
    kind = indexer_class(given["type"])
    settings: IndexSettings = validate(kind.Settings, given, name=name, at=at)
    if "embed" in type(settings).model_fields:
        settings = settings.model_copy(update={"embed": _embedding(recipe, getattr(settings, "embed", None))})
    if "lm" in type(settings).model_fields:
        settings = settings.model_copy(update={"lm": _language_model(recipe, getattr(settings, "lm", None))})
    kind.check(settings)
    _check_inputs(recipe, settings)
    return settings


def _check_inputs(recipe: Recipe, settings: IndexSettings) -> None:
    """Look for the model and the query file now, and not after an hour of other work.

    Raises:
        ModelError: the model is not there.
        QueryError: the query file is not there, or is none.
    """
    embed, queries = (getattr(settings, key, None) for key in ("embed", "queries"))
    if embed is not None:
        locate(recipe.embed[embed].model)
    if queries is not None:
        read_queries(Path(queries))


def _embedding(recipe: Recipe, name: str | None) -> str:
    if name is None:
        return next(iter(recipe.embed))
    if name not in recipe.embed:
        msg = f"`embed` names {name!r}; embeddings are: {', '.join(recipe.embed)}"
        raise RecipeError(msg)
    return name


def _language_model(recipe: Recipe, name: str | None) -> str:
    if not recipe.lm:
        msg = "needs the states of a language model; add a section, as `lm: {smol: {model: FOLDER}}`"
        raise RecipeError(msg)
    if name is None:
        return next(iter(recipe.lm))
    if name not in recipe.lm:
        msg = f"`lm` names {name!r}; language models are: {', '.join(recipe.lm)}"
        raise RecipeError(msg)
    return name


def build_indexes(
    store: Store,
    engine: Engine,
    progress: Progress,
    indexes: dict[str, IndexSettings],
    *,
    tables: dict[str, TableEntry],
    models: dict[str, Any],
    parent: Manifest | None,
) -> tuple[dict[str, IndexEntry], list[str]]:
    """Build every index that is not there yet; returns their manifest entries in the recipe's order, and warnings."""
    entries: dict[str, IndexEntry] = {}
    warnings = []
    for name, settings in indexes.items():
        # Indexes that differ only in what a search reads have one set of files.
        others = [*entries.values(), *(parent.indexes.values() if parent else ())]
        build = _IndexBuild(store, engine, name, settings, tables=tables, models=models, others=others)
        entries[name] = entry = build.run(progress, parent.indexes.get(name) if parent else None)
        if entry.recall and not entry.recall["reached"]:
            found, k, target = entry.recall["recall"], entry.recall["k"], entry.recall["target"]
            warnings.append(
                f"index {name!r}: recall@{k} is {found:.3f}, below its target of {target}; try another factory or more "
                "links"
            )
    return entries, warnings


class _IndexBuild:
    """The steps of one index, each found or run."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        name: str,
        settings: IndexSettings,
        *,
        tables: dict[str, TableEntry],
        models: dict[str, Any],
        others: Sequence[IndexEntry],
    ) -> None:
        self._store = store
        self._engine = engine
        self._name = name
        self._settings = settings
        self._models = models
        self._others = {shard.fingerprint: shard.place for entry in others for shard in entry.shards}
        kind = indexer_class(settings.type)
        self._table = tables[table] if (table := kind.table(settings)) is not None else None
        self._beside = {name: {part.label: part for part in tables[name].partitions} for name in kind.beside(settings)}
        self._whole = {name: tables[name].partitions for name in kind.whole(settings)}
        model = kind.model(settings)
        self._spec: dict[str, Any] = {
            "type": settings.type,
            "settings": settings.model_dump(mode="json"),
            "rows": self._table.rows if self._table else 0,
            "dimension": models[model]["dimension"] if model else 0,
        }
        self._indexer: Any = make_indexer(**self._spec)
        self._identity = [settings.type, kind.version, self._indexer.identity]

    def run(self, progress: Progress, former: IndexEntry | None) -> IndexEntry:
        """Find or build the index; `former` is its entry in the current snapshot."""
        if self._table is None:
            return self._entry((), former)
        extras = self._extras(progress)
        groups = _group(self._table.partitions, self._indexer.shard_rows, self._indexer.shard_bytes)
        units = [self._unit("build", group[0].label, group, extras) for group in groups]
        built = self._results(units, progress)
        merged = self._results([self._unit("merge", "merged", built, {})], progress) if self._indexer.merges else built
        return self._entry(tuple(merged), former)

    def _extras(self, progress: Progress) -> dict[str, Artifact]:
        """What the shards are built with beside their partitions: a trained index, the vectors of real questions."""
        extras = {}
        assert self._table is not None  # noqa: S101 - only indexes over a table get here
        if self._indexer.needs_training:
            (extras["trained"],) = self._results([self._unit("train", "trained", self._table.partitions, {})], progress)
        queries = getattr(self._settings, "queries", None)
        if queries is not None:
            (extras["probes"],) = self._results([self._queries(queries)], progress, job="QueriesJob")
        return extras

    def _queries(self, path: str) -> Unit:
        texts = [query.question for query in read_queries(Path(path))]
        embedding: str = getattr(self._settings, "embed")  # noqa: B009 - only indexes over vectors have queries
        spec = self._models[embedding]["settings"]
        name = fingerprint("queries", texts, {**spec, "model": model_hash(spec["model"])})
        return Unit(f"tables/queries/{embedding}", "queries", name, {"step": "queries", "path": path, "spec": spec})

    def _unit(self, step: str, label: str, inputs: Sequence[Artifact], extras: dict[str, Artifact]) -> Unit:
        # Shards, which are inputs of a merge, are made of the tables beside already.
        tables = self._beside if step != "merge" else {}
        beside = [{table: parts[part.label] for table, parts in tables.items()} for part in inputs]
        whole = self._whole if step != "merge" else {}
        name = fingerprint(
            step,
            self._identity,
            [part.fingerprint for part in inputs],
            {key: item.fingerprint for key, item in extras.items()},
            [[part.fingerprint for part in parts.values()] for parts in beside],
            {table: [part.fingerprint for part in parts] for table, parts in whole.items()},
        )
        payload = {
            "step": step,
            "inputs": [part.model_dump(mode="json") for part in inputs],
            "beside": [{table: part.model_dump(mode="json") for table, part in parts.items()} for parts in beside],
            "whole": {table: [part.model_dump(mode="json") for part in parts] for table, parts in whole.items()},
            "extras": {key: item.model_dump(mode="json") for key, item in extras.items()},
        }
        return Unit(f"indexes/{self._name}", label, name, payload)

    def _results(self, units: Sequence[Unit], progress: Progress, *, job: str = "IndexJob") -> list[Artifact]:
        """The results of one step's units, found or computed, in the units' order."""
        there = {unit.fingerprint: self._find(unit) for unit in units}
        done = {name: part for name, part in there.items() if part is not None}
        todo = [unit for unit in units if unit.fingerprint not in done]
        if todo:
            self._engine.start()
        step = units[0].payload["step"]
        title = self._name if step == "build" else f"{self._name}: {step}"
        with progress.stage(title, partitions=len(units), found=list(done.values()), todo=len(todo)) as stage:
            for artifacts in self._engine.run(JobSpec(f"mnemodex.pipelines.jobs:{job}", self._spec), todo):
                for artifact in artifacts:
                    done[artifact.fingerprint] = artifact
                    stage.done(artifact)
        return [done[unit.fingerprint] for unit in units]

    def _find(self, unit: Unit) -> Artifact | None:
        """A result that is there, in this index's folder or in that of another index with the same files."""
        found = self._store.find(unit.folder, unit.label, unit.fingerprint)
        place = self._others.get(unit.fingerprint)
        if found is not None or place is None:
            return found
        return self._store.find(place.rpartition("/")[0], unit.label, unit.fingerprint)

    def _entry(self, shards: tuple[Artifact, ...], former: IndexEntry | None) -> IndexEntry:
        settings = self._settings.model_dump(mode="json")
        name = fingerprint(self._identity, settings, [shard.fingerprint for shard in shards])
        if former is not None and former.fingerprint == name and former.shards == shards:
            return former
        measured = self._indexer.measure([self._folder(shard) for shard in shards]) if shards else None
        return IndexEntry(
            name=self._name,
            type=self._settings.type,
            settings=settings,
            fingerprint=name,
            table=self._table.name if self._table else None,
            rows=sum(shard.rows for shard in shards),
            shards=shards,
            search=measured.search if measured else {},
            recall=measured.to_json() if measured else None,
        )

    def _folder(self, shard: Artifact) -> Path:
        """The folder of a shard, every file of it checked."""
        first, *_ = [self._store.files.check(file) for file in shard.files]
        return first.parent


def _group(partitions: Sequence[Artifact], rows: int, size: int | None) -> list[list[Artifact]]:
    """Consecutive partitions with together at most `rows` rows and `size` bytes, or a single one.

    When the source grows at its end, only the last group changes.
    """
    groups: list[list[Artifact]] = []
    counted = filled = 0
    for part in partitions:
        if not groups or counted + part.rows > rows or (size is not None and filled + part.bytes > size):
            groups.append([])
            counted = filled = 0
        groups[-1].append(part)
        counted += part.rows
        filled += part.bytes
    return groups
