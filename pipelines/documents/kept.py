"""The documents of the current snapshot as they were read, for a change, which does not read the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.documents.changes import layer_of
from mnemodex.pipelines.documents.steps import document_steps
from mnemodex.pipelines.plan import identity
from mnemodex.pipelines.results import BuildResults
from mnemodex.schemas.steps import SourceUnit
from mnemodex.schemas.tables import DOCUMENTS, READ_DOCUMENTS

if TYPE_CHECKING:
    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store


def kept_documents(
    store: Store, recipe: Recipe, former: Manifest | None
) -> tuple[tuple[SourceUnit, ...], dict[str, str]] | None:
    """Return what was read of the source, as units whose results are there, and the inferred types of metadata.

    Returns:
        None where that would be read in another way today, or is damaged: then the source has to be read.
    """
    entry = former.caches.get(READ_DOCUMENTS.path) if former is not None else None
    if former is None or entry is None:
        return None
    fields = former.tables[DOCUMENTS.label].fields
    read = next(document_steps(BuildResults(recipe, store), (), fields))
    if identity(read) != entry.identity or not all(_is_there(store, part) for part in entry.partitions):
        return None
    units = (
        SourceUnit(part.label, part.fingerprint, part.place, kept=part)
        for part in entry.partitions
        if not layer_of(part.label)
    )
    return tuple(units), fields


def _is_there(store: Store, part: Artifact) -> bool:
    places = (part.place, *part.also)
    return all(store.whole(place) is not None for place in places)
