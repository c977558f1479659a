"""What a Python caller passes to a build besides the recipe: documents, a chunker, encoders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.passed import PassedChunker, PassedEmbedding, identity_of
from mnemodex.schemas.source_sections import Source

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store

_PLACE = "passed by the caller"
_SPOOL = "documents.jsonl"


@dataclass
class Passed:
    """The objects, as `build` was given them."""

    source: Iterable[Mapping[str, Any]] | None = None
    chunker: Any = None
    encoders: dict[str, Any] = field(default_factory=dict)

    @property
    def objects(self) -> dict[str, Any]:
        """What workers are given, by section of the recipe."""
        found = {f"embed/{name}": encoder for name, encoder in self.encoders.items()}
        return found | ({"chunks": self.chunker} if self.chunker is not None else {})

    def complete(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Return a recipe with the sections that passed objects take the place of."""
        given = dict(recipe)
        if self.source is not None and isinstance(given.get("source", {}), dict):
            given["source"] = {"path": _PLACE, **given.get("source", {})}
        embed = given.get("embed", {})
        if self.encoders and isinstance(embed, dict):
            given["embed"] = {**embed, **{name: {} for name in self.encoders if name not in embed}}
        return given


def with_passed(recipe: Recipe, passed: Passed, store: Store) -> Recipe:
    """Return the recipe with settings that name the passed objects.

    Raises:
        RecipeError: an encoder is for no entry of the recipe.
    """
    update: dict[str, Any] = {}
    if passed.source is not None:
        # The same path every time, since snapshots name it; nothing is there.
        update["source"] = _source(recipe, store.root / "work" / "passed" / _SPOOL)
    if passed.chunker is not None:
        if not callable(getattr(passed.chunker, "spans", None)):
            raise RecipeError(
                f"chunker {type(passed.chunker).__name__} has no method spans(texts); see the protocol Chunker"
            )
        update["chunks"] = PassedChunker(identity_of=identity_of(passed.chunker))
    if passed.encoders:
        update["embed"] = {**recipe.embed, **_encoders(recipe, passed.encoders)}
    return recipe.model_copy(update=update)


def _encoders(recipe: Recipe, encoders: dict[str, Any]) -> dict[str, PassedEmbedding]:
    made = {}
    for name, encoder in encoders.items():
        if name not in recipe.embed:
            raise RecipeError(
                f"encoders[{name!r}] is for no entry of the recipe's section embed, which has {', '.join(recipe.embed)}"
            )
        dimension = getattr(encoder, "dimension", None)
        if not callable(getattr(encoder, "encode", None)) or not isinstance(dimension, Integral) or dimension < 1:
            raise RecipeError(
                f"encoder {type(encoder).__name__} has no method encode(texts) or no attribute dimension that is a "
                "number; see the protocol PlainEncoder"
            )
        settings = recipe.embed[name]
        given = {key: getattr(settings, key) for key in ("with_title", "query_prefix", "passage_prefix", "normalize")}
        kept = {key: value for key, value in given.items() if value is not None}
        made[name] = PassedEmbedding(identity_of=identity_of(encoder), name=name, **kept)
    return made


def spooled(recipe: Recipe, rows: Iterable[Mapping[str, Any]], folder: Path) -> Recipe:
    """Write documents as JSONL into a folder, one at a time, and return the recipe with them as its source.

    Raises:
        SourceError: a document is not a mapping, or cannot be written as JSON; or there is none.
    """
    path = folder / _SPOOL
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise SourceError(f"source is a {type(rows).__name__}; pass a list or an iterator of mappings")
    number = -1
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise SourceError(f"source: row {number} is a {type(row).__name__}, not a mapping of fields")
            try:
                file.write(json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n")
            except (TypeError, ValueError) as error:
                raise SourceError(
                    f"source: row {number} cannot be written as JSON ({error}); give strings, numbers and lists"
                ) from error
    if number < 0:
        raise SourceError("source gives no rows; pass a list, or a new iterator for each build and each dry run")
    return recipe.model_copy(update={"source": _source(recipe, path)})


def shared_spool(recipe: Recipe, store: Store, run: str) -> Recipe:
    """Return the recipe with documents that were spooled where every worker of a build can read them."""
    if store.root == store.files.scratch:
        return recipe
    path = f"{run}/{_SPOOL}"
    store.files.put(path, store.files.scratch / path)
    return recipe.model_copy(update={"source": _source(recipe, store.root / path)})


def _source(recipe: Recipe, path: Root) -> Source:
    fields = getattr(recipe.source, "fields", {})
    return Source(path=str(path), fields=fields, format="jsonl", max_errors=getattr(recipe.source, "max_errors", 100))
