"""An index of the recipe as a step of the same build searches it, before there is a snapshot that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic_core import to_jsonable_python

from mnemodex.indexers.base import Measured
from mnemodex.pipelines.entries import encoder_entry, index_entry
from mnemodex.retrievers.fitting import Fitted
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import ENCODERS, KINDS, AnyEncoder, AnyIndex, load
from mnemodex.schemas.manifest import Artifacts, Manifest, TableEntry
from mnemodex.schemas.references import find_unsearched, parts_of
from mnemodex.schemas.spec import ModelRef, Ref, SearchOnly, Spec
from mnemodex.schemas.steps import All, IndexKey, Read
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, QA_PAIRS, QUESTIONS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.schemas.manifest import Artifact, Stats
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.spec import Digest
    from mnemodex.schemas.steps import Key


class SearchedIndex(Spec):
    """An index that a step searches, with those that it is made of and the encoders of all.

    Attributes:
        name: of the index.
        indexes: by name: those that an index is made of follow it.
        embed: by name.
    """

    name: str
    indexes: dict[str, AnyIndex]
    embed: dict[str, AnyEncoder]

    @classmethod
    def of(cls, recipe: Recipe, name: str, *, at: str) -> Self:
        """Return an index of the recipe; one that cannot be searched in a build is a `RecipeError` of the key `at`."""
        unsearched = find_unsearched(recipe, name)
        if unsearched is not None:
            part = "" if unsearched == name else f", a part of {name!r},"
            raise RecipeError(
                f"{at}: the index {unsearched!r}{part} is of type {recipe.indexes[unsearched].type}, which cannot be "
                "searched while a memory is built; name an index of type dense or bm25, or a hybrid of such ones"
            )
        indexes: dict[str, Spec] = {part: recipe.indexes[part] for part in parts_of(recipe, name)}
        embed = {encoder: recipe.embed[encoder] for settings in indexes.values() for encoder in _encoders(settings)}
        return cls(name=name, indexes=indexes, embed=embed)

    def keys(self) -> list[Key]:
        """Return the tables and shards that a search reads, each once."""
        return list(dict.fromkeys(self._keys()))

    def _keys(self) -> Iterator[Key]:
        yield from (DOCUMENTS, CHUNKS)
        settings: Any
        for name, settings in self.indexes.items():
            kind = KINDS.find(settings.type)
            if getattr(settings, "is_fitted", False):
                yield IndexKey(name, "weights")
            if kind.hits == "pair":
                yield from (QA_PAIRS, QUESTIONS)
                if settings.compares_answers:
                    yield TableKey("embeddings", settings.embed, "question_answers")
            if not kind.indexer:
                continue
            indexer = load(kind.indexer)
            yield IndexKey(name)
            if (vectors := indexer.vectors(settings)) is not None:
                yield vectors
            if indexer.measured_by:
                yield IndexKey(name, "recall")

    def reads(self) -> tuple[Read, ...]:
        """Return what a step reads to search the index: all of each key."""
        return tuple(Read(key, All()) for key in self.keys())

    def decides(self, digest: Digest) -> list[Any]:
        """Return what decides what a search finds in the same rows, as JSON values."""
        indexes = [
            [settings.identity(digest=digest), _of_searches(settings, digest)] for settings in self.indexes.values()
        ]
        given: list[Any] = list(self.embed.values())
        encoders = [
            [spec.identity(step="queries", digest=digest), ENCODERS.find(spec.encoder).version] for spec in given
        ]
        return [indexes, encoders]

    def open(self, inputs: Inputs, first: int, work: Work) -> Memory:
        """Return a memory of the index over the inputs of a unit, of which those from `first` on are `reads`."""
        found = {key: list(inputs.artifacts(number)) for number, key in enumerate(self.keys(), first)}
        indexes: dict[str, Any] = self.indexes
        tables = {key.label: parts for key, parts in found.items() if isinstance(key, TableKey)}
        manifest = Manifest(
            name="",
            parent=None,
            parent_sha256=None,
            created="",
            recipe={},
            recipe_hash="",
            tables={name: TableEntry(name=name, partitions=Artifacts(parts)) for name, parts in tables.items()},
            indexes={
                name: index_entry(
                    name,
                    settings,
                    identity="",
                    shards=found.get(IndexKey(name), ()),
                    measured=next((part.stats.of(Measured) for part in found.get(IndexKey(name, "recall"), ())), None),
                    fitted=next(
                        (part.stats.of(Fitted).fitted for part in found.get(IndexKey(name, "weights"), ())), None
                    ),
                )
                for name, settings in indexes.items()
            },
            encoders={name: encoder_entry(spec, _stats_of_vectors(name, found)) for name, spec in self.embed.items()},
            versions={},
        )
        return Memory.of(Snapshot(work.store, manifest), objects=work.objects)


def _encoders(settings: Spec) -> list[str]:
    """Return the names of the encoders that the settings of an index name."""
    refs = ((leaf.marker(Ref), leaf.value) for leaf in settings.leaves())
    return [name for ref, name in refs if ref is not None and ref.section == "embed" and name is not None]


def _of_searches(settings: Spec, digest: Digest) -> dict[str, Any]:
    """Return the values that only searches read, by their keys; models by their hashes."""
    values = {}
    for leaf in settings.leaves():
        model: ModelRef | None = leaf.marker(ModelRef)
        if leaf.marker(SearchOnly):
            value = digest(leaf.value, model) if model and leaf.value else to_jsonable_python(leaf.value)
            values[".".join(leaf.path)] = value
    return values


def _stats_of_vectors(name: str, found: dict[Key, list[Artifact]]) -> Stats:
    """Return the stats of some partition of an encoder's vectors."""
    return next(
        part.stats
        for key, parts in found.items()
        if isinstance(key, TableKey) and (key.family, key.name) == ("embeddings", name)
        for part in parts
    )
