"""What graph indexes need of a recipe, told before any work; and their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.graph.settings import GraphSettings
from mnemodex.pipelines.graph.tables import GraphTables
from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from mnemodex.indexers.base import IndexSettings
    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.progress import Progress
    from mnemodex.schemas.manifest import Manifest, TableEntry
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store


def graphs(indexes: dict[str, IndexSettings]) -> dict[str, GraphSettings]:
    """The indexes that are built of triples."""
    return {
        name: settings
        for name, settings in indexes.items()
        if isinstance(settings, GraphSettings) and settings.has_facts
    }


def check_graphs(recipe: Recipe, indexes: dict[str, IndexSettings], *, name: str) -> None:
    """Refuse what cannot be built.

    Raises:
        RecipeError: there are no triples, or two indexes want different graphs.
    """
    found = graphs(indexes)
    if found and recipe.triples is None:
        index = next(iter(found))
        msg = (
            f"{name}: indexes.{index} needs triples: add `triples: {{extractor: spacy}}` or `triples: {{from: FILE}}`, "
            "or take `method: bridge-lite`, which needs none"
        )
        raise RecipeError(msg)
    kinds = {(settings.embed, settings.synonymy) for settings in found.values()}
    if len(kinds) > 1:
        msg = (
            f"{name}: the indexes {', '.join(found)} differ in `embed` or `synonymy`, but a memory has one graph: give "
            "them the same, or build two memories"
        )
        raise RecipeError(msg)


def graph_tables(
    store: Store,
    engine: Engine,
    progress: Progress,
    indexes: dict[str, IndexSettings],
    tables: dict[str, TableEntry],
    *,
    models: dict[str, Any],
    parent: Manifest | None,
) -> dict[str, TableEntry]:
    """The graph's tables, of a recipe that has triples: facts, entities and edges; vectors and synonyms for indexes."""
    made = GraphTables(store, engine, progress, parent)
    triples, mentions = tables["triples"], tables["mentions"]
    found = made.names(triples, mentions)
    names = dict(found)
    synonyms = None
    settings = next(iter(graphs(indexes).values()), None)
    if settings is not None:
        embed = str(settings.embed)
        encoded = names if settings.synonymy is not None else {"facts": names["facts"]}
        vectors = made.vectors(embed, models[embed], encoded)
        found |= vectors
        if settings.synonymy is not None:
            synonyms = found["synonyms"] = made.synonyms(embed, names, vectors, settings.synonymy)
    found["edges"] = made.edges(triples, mentions, synonyms)
    return found
