"""The paths of a recipe: relative to where it lies, until it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.triples import SpacyTriples, TripleFile

if TYPE_CHECKING:
    from mnemodex.schemas.recipe import NgramPairs, Recipe
    from mnemodex.schemas.triples import Triples


def with_paths(recipe: Recipe, *, base: Path, stem: str) -> Recipe:
    """The recipe with absolute paths.

    Args:
        recipe: as it was written.
        base: the folder that relative paths start from.
        stem: the default memory is `memories/STEM`.

    Raises:
        RecipeError: a path names the home of a user that there is not.
    """
    source = recipe.source.model_copy(update={"path": str(_under(base, recipe.source.path))})
    memory = recipe.memory or f"memories/{stem}"
    embed, lm = (
        {key: spec.model_copy(update={"model": _model(base, spec.model)}) for key, spec in section.items()}
        for section in (recipe.embed, recipe.lm)
    )
    return recipe.model_copy(
        update={
            "source": source,
            "memory": memory if "://" in memory else str(_under(base, memory)),
            "embed": embed,
            "lm": lm,
            "chunks": _chunk_paths(base, recipe.chunks),
            "indexes": {key: _index_paths(base, index) for key, index in recipe.indexes.items()},
            "ngram_pairs": {key: _pair_paths(base, spec) for key, spec in recipe.ngram_pairs.items()},
            "triples": _triple_paths(base, recipe.triples),
        }
    )


def _under(base: Path, path: str) -> Path:
    try:
        return (base / Path(path).expanduser()).absolute()
    except RuntimeError as error:
        msg = f"path {path!r}: there is no such user; write the path out"
        raise RecipeError(msg) from error


def _model(base: Path, model: str) -> str:
    """A model that is a folder beside the recipe becomes an absolute path; hub ids and `pkg:` names stay."""
    local = _under(base, model)
    return str(local) if not model.startswith("pkg:") and local.exists() else model


def _chunk_paths(base: Path, chunks: dict[str, Any]) -> dict[str, Any]:
    tokenizer = chunks.get("tokenizer")
    return {**chunks, "tokenizer": _model(base, tokenizer)} if isinstance(tokenizer, str) else chunks


def _index_paths(base: Path, index: dict[str, Any]) -> dict[str, Any]:
    queries = index.get("queries")
    paths = {"queries": str(_under(base, queries))} if isinstance(queries, str) else {}
    given = {key: index.get(key) for key in ("tokenizer", "model")}
    models = {key: _model(base, name) for key, name in given.items() if isinstance(name, str)}
    return {**index, **paths, **models}


def _pair_paths(base: Path, spec: NgramPairs) -> NgramPairs:
    queries = str(_under(base, spec.queries)) if spec.queries else None
    return spec.model_copy(update={"queries": queries, "tokenizer": _model(base, spec.tokenizer)})


def _triple_paths(base: Path, triples: Triples | None) -> Triples | None:
    if isinstance(triples, TripleFile):
        return triples.model_copy(update={"path": str(_under(base, triples.path))})
    if isinstance(triples, SpacyTriples):
        return triples.model_copy(update={"model": _model(base, triples.model)})
    return triples
