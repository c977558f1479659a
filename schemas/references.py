"""Names of other entries in a recipe: what a missing one means, and that every one is of something."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeVar

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import KINDS, load
from mnemodex.schemas.pair_sections import GeneratedPairs
from mnemodex.schemas.spec import Leaf, Ref, Spec
from mnemodex.schemas.tables import TableKey
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from mnemodex.schemas.pair_sections import PairFile
    from mnemodex.schemas.recipe import IndexSettings, Recipe

_S = TypeVar("_S", bound=Spec)
_NOUNS = {"embed": "embeddings", "lm": "language models", "index": "other indexes"}


def fill_references(recipe: Recipe, *, name: str) -> dict[str, IndexSettings]:
    """Return the settings of all indexes, the references that are not given filled in.

    Where nothing can be meant, or one of several, it is a `RecipeError`.
    """
    return {index: _fill(recipe, settings, f"{name}: indexes.{index}") for index, settings in recipe.indexes.items()}


def _fill(recipe: Recipe, settings: _S, at: str) -> _S:
    def fill(leaf: Leaf) -> Any:
        ref: Ref | None = leaf.marker(Ref)
        if ref is None or leaf.value is not None or ref.default == "none":
            return leaf.value
        return _default(recipe, ref, at)

    return settings.replaced(fill)


def fill_chunker(recipe: Recipe, *, name: str) -> Spec:
    """Return the settings of the chunker, the references that are not given filled in.

    A name of nothing, or where nothing can be meant, is a `RecipeError`.
    """
    filled = _fill(recipe, recipe.chunks, f"{name}: chunks")
    for leaf in filled.leaves():
        ref: Ref | None = leaf.marker(Ref)
        if ref is None or leaf.value in (None, *_named(recipe, ref)):
            continue
        if ref.section == "lm" and not recipe.lm:
            raise _without_lm(f"{name}: chunks")
        known = ", ".join(_named(recipe, ref)) or "none"
        raise RecipeError(f"{name}: chunks.{leaf.path[0]} names {leaf.value!r}; {_NOUNS[ref.section]} are: {known}")
    return filled


def fill_filter(recipe: Recipe, *, name: str) -> PairFile | GeneratedPairs | None:
    """Return the section of pairs; a global filter names its index, by default the first that it can search.

    Where there is none, or the name is of another one, it is a `RecipeError`.
    """
    pairs = recipe.qa_pairs
    if not isinstance(pairs, GeneratedPairs) or pairs.filter is None or pairs.filter.by == "local":
        return pairs
    known = [
        index
        for index, settings in recipe.indexes.items()
        if KINDS.find(settings.type).hits == "chunk" and find_unsearched(recipe, index) is None
    ]
    named, others = pairs.filter.index, ", ".join(known) or "none"
    if named is None and not known:
        raise RecipeError(
            f"{name}: qa_pairs.filter: needs an index over chunks of type dense or bm25, or a hybrid of such ones; add "
            "one, or take `by: local`"
        )
    if named is not None and named not in known:
        what = ""
        if named in recipe.indexes:
            part = find_unsearched(recipe, named)
            what = f", of type {recipe.indexes[named].type}" + (f" with {part!r}" if part not in (None, named) else "")
        raise RecipeError(
            f"{name}: qa_pairs.filter.index names {named!r}{what}; indexes over chunks that a build can search are: "
            f"{others}"
        )
    return pairs.model_copy(update={"filter": pairs.filter.model_copy(update={"index": named or known[0]})})


def parts_of(recipe: Recipe, index: str) -> list[str]:
    """Return an index and those that it is made of, each once, before its own parts."""
    parts = [index]
    for part in parts:
        for leaf in recipe.indexes[part].leaves():
            ref: Ref | None = leaf.marker(Ref)
            if ref is not None and ref.section == "index" and leaf.value not in (None, *parts):
                parts.append(leaf.value)
    return parts


def find_unsearched(recipe: Recipe, index: str) -> str | None:
    """Return the first part of an index that a step of the build cannot search; None where it can search all."""
    for part in parts_of(recipe, index):
        kind = KINDS.find(recipe.indexes[part].type)
        # An index of pairs is searched by itself only: what decides the pairs cannot read them.
        if not kind.searched_in_builds or (kind.hits == "pair" and part != index):
            return part
    return None


def _default(recipe: Recipe, ref: Ref, at: str) -> str:
    named = _named(recipe, ref)
    if ref.section == "lm" and not named:
        raise _without_lm(at)
    if ref.default == "first" or len(named) == 1:
        return named[0]
    remedy = f"name one in `of`: {', '.join(named)}" if named else f"add one, as `{ref.type}s: {{type: {ref.type}}}`"
    raise RecipeError(f"{at} needs one index of type {ref.type}, but the recipe has {len(named)}; {remedy}")


def _without_lm(at: str) -> RecipeError:
    return RecipeError(
        f"{at}: needs the states of a language model; add a section, as `lm: {{smol: {{model: FOLDER}}}}`"
    )


def _named(recipe: Recipe, ref: Ref) -> list[str]:
    """Return the names that a reference may have."""
    if ref.section == "index":
        return [name for name, settings in recipe.indexes.items() if ref.type in (None, settings.type)]
    return list(recipe.embed if ref.section == "embed" else recipe.lm)


def check_references(recipe: Recipe, *, name: str) -> None:
    """Refuse names of nothing, of the wrong type or id space, and indexes that are made of each other.

    The `RecipeError` names the key, and what there is.
    """
    graph: dict[str, list[str]] = {index: [] for index in recipe.indexes}
    for index, settings in recipe.indexes.items():
        for leaf in settings.leaves():
            ref: Ref | None = leaf.marker(Ref)
            if ref is None or leaf.value is None:
                continue
            _check(recipe, index, leaf, ref, name=name)
            if ref.section == "index":
                graph[index].append(leaf.value)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " of ".join(reversed(error.args[1]))
        raise RecipeError(f"{name}: indexes are made of each other: {circle}; leave one of them out of `of`") from error


def _check_given(settings: IndexSettings, name: str, at: str) -> None:
    """Refuse vectors that were made elsewhere for an index that encodes other texts than chunks."""
    indexer = KINDS.find(settings.type).indexer
    if not indexer or load(indexer).vectors(settings) != TableKey("embeddings", name):
        raise RecipeError(
            f"{at}, whose vectors are read from files: an index of type {settings.type} encodes texts of its own; name "
            "an embedding with a model"
        )


def _check(recipe: Recipe, index: str, leaf: Leaf, ref: Ref, *, name: str) -> None:
    at = f"{name}: indexes.{index}.{leaf.path[0]} names {leaf.value!r}"
    if ref.section == "lm" and not recipe.lm:
        raise _without_lm(f"{name}: indexes.{index}")
    if ref.section != "index":
        if leaf.value not in _named(recipe, ref):
            raise RecipeError(f"{at}; {_NOUNS[ref.section]} are: {', '.join(_named(recipe, ref))}")
        if ref.section == "embed" and isinstance(recipe.embed[leaf.value], VectorFile):
            _check_given(recipe.indexes[index], leaf.value, at)
        return
    if leaf.value not in recipe.indexes or leaf.value == index:
        others = ", ".join(other for other in recipe.indexes if other != index) or "none"
        raise RecipeError(f"{at}; other indexes are: {others}")
    kind = recipe.indexes[leaf.value].type
    if ref.type not in (None, kind):
        raise RecipeError(
            f"{at}, which is of type {kind} and not {ref.type}; indexes of that type are: "
            f"{', '.join(_named(recipe, ref)) or 'none'}"
        )
    hits = KINDS.find(kind).hits
    if hits not in ref.hits:
        raise RecipeError(
            f"{at}, of type {kind}, whose hits are {hits}s; an index of type {recipe.indexes[index].type} takes "
            f"indexes whose hits are {' or '.join(f'{accepted}s' for accepted in ref.hits)}"
        )
