"""What readers see of a graph: the numbers of what tombstones leave, and the names of its entities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.graph.passages import spelled_names
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import ENTITIES, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnemodex.indexers.arrays import Float32s, Int32s, Int64s
    from mnemodex.indexers.graph.adjacency import Edges
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.corrections import Corrections
    from mnemodex.retrievers.snapshot import Snapshot

    Read = Callable[[Sequence[int]], Sequence[tuple[str, str]]]
    """Returns title and text of passages."""

Counted = Literal["entities", "facts", "passages"]


class Live:
    """The graph of a snapshot; the one in its files where nothing is left out.

    It is made once, so that a search does nothing that depends on what is left out.

    Attributes:
        graph: what readers see.
    """

    def __init__(self, whole: Graph, snapshot: Snapshot) -> None:
        self._whole = whole
        self._corrections = snapshot.corrections
        self._left_out = snapshot.tombstones.mask("chunk_id", np.asarray(whole.chunk_ids))
        self.graph = whole
        self._kept: dict[Counted, Int64s] | None = None
        if self._left_out.any():
            from mnemodex.indexers.graph.pruning import prune

            self.graph, *kept = prune(whole, self._left_out, _new_synonyms(whole, snapshot.corrections))
            self._kept = dict(zip(("entities", "facts", "passages"), kept, strict=True))

    def count(self, kind: Counted) -> int:
        """Return how many of a kind the files have."""
        graph = self._whole
        return {"entities": graph.entities, "facts": len(graph.subjects), "passages": graph.passages}[kind]

    def places(self, kind: Counted, live: Int64s) -> Int64s:
        """Return the places in the files of some of a kind, by their numbers in the graph."""
        return live if self._kept is None else self._kept[kind][live]

    def numbers(self, kind: Counted, places: Int32s) -> Int32s:
        """Return the numbers in the graph of what is at some places in the files; -1 for what is left out."""
        if self._kept is None:
            return places
        from mnemodex.indexers.graph.pruning import renumber

        return renumber(self._kept[kind], self.count(kind))[places]

    def columns(self, scores: Float32s) -> Float32s:
        """Return the scores of the passages of the graph, of shape (questions, passages), of those of the files."""
        return scores if self._kept is None else np.ascontiguousarray(scores[:, self._kept["passages"]])

    def rows(self, rows: Rows) -> Rows:
        """Return the passages' ids and places, of those of the files."""
        if self._kept is None:
            return rows
        kept = self._kept["passages"]
        return Rows(rows.ids[kept], rows.partition[kept], rows.row[kept], rows.labels)

    def names(self, entities: Sequence[int], stored: list[str], read: Read) -> list[str]:
        """Return the names of entities, given those in the files.

        With facts it is the name that most passages use, else that of the first passage.
        """
        if self._kept is None or not entities:
            return stored
        if len(self._whole.subjects):
            return _corrected(self.graph.entity_ids[list(entities)], stored, self._corrections)
        return [self._first_name(entity, name, read) for entity, name in zip(entities, stored, strict=True)]

    def _first_name(self, entity: int, stored: str, read: Read) -> str:
        before = int(self.places("entities", np.array([entity]))[0])
        if not self._left_out[_first_passage(self._whole, before)]:
            return stored
        ((title, text),) = read([_first_passage(self.graph, entity)])
        return spelled_names(title, text).get(int(self.graph.entity_ids[entity]), stored)


def _first_passage(graph: Graph, entity: int) -> int:
    """Return the first passage of an entity that only mentions join."""
    return int(graph.indices[graph.indptr[entity]]) - graph.entities


def _corrected(ids: Int64s, stored: list[str], corrections: Corrections) -> list[str]:
    rows = corrections.rows(ENTITIES.label)
    if rows is None or not len(rows):
        return stored
    known = numbers(rows["entity_id"])
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    names = rows["name"].take(to_column(places, pa.int64())).to_pylist()
    same = (known[places] == ids).tolist()
    return [name if is_known else own for name, own, is_known in zip(names, stored, same, strict=True)]


def _new_synonyms(graph: Graph, corrections: Corrections) -> Edges:
    """Return the pairs that become synonyms because nearer ones are gone."""
    from mnemodex.indexers.graph.adjacency import Edges
    from mnemodex.indexers.graph.pruning import NO_EDGES

    rows: pa.Table | None = corrections.rows(SYNONYMS.label)
    # A graph without facts is not that of the tables.
    if rows is None or not len(graph.subjects):
        return NO_EDGES
    new = rows.filter(pc.invert(rows["left_out"]))
    left, right = (np.searchsorted(graph.entity_ids, numbers(new[name])) for name in ("source_id", "target_id"))
    return Edges(left, right, numbers(new["weight"]))
