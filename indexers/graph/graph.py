"""The arrays of a knowledge graph, opened by mmap."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import (
    Float32s,
    Int32s,
    Int64s,
    check_arrays,
    check_offsets,
    check_places,
    check_weights,
    open_arrays,
    save_arrays,
)

if TYPE_CHECKING:
    from pathlib import Path

_TYPES = {"Int64s": np.int64, "Int32s": np.int32, "Float32s": np.float32}


@dataclass(frozen=True)
class Graph:
    """Nodes are numbered: entities from 0 in the order of their ids, then passages (chunks) in the order of their rows.

    The adjacency is symmetric and has one element for each pair of nodes, with a weight for each kind of edge (0 for
    none): a method adds up or leaves out kinds as it likes.

    Attributes:
        entity_ids: int64 of shape (entities,), ascending.
        chunk_ids: int64 of shape (passages,).
        indptr: int64 of shape (nodes + 1,): where each node's neighbours begin in the next four.
        indices: int32 of shape (pairs,): neighbours, ascending for each node.
        fact: float32 of shape (pairs,): triples that join two entities.
        mention: float32 of shape (pairs,): 1 between an entity and a passage that mentions it.
        synonym: float32 of shape (pairs,): the cosine of two entities' names.
        subjects: int32 of shape (facts,): the entity that is each fact's subject.
        objects: int32 of shape (facts,).
        passage_offsets: int64 of shape (passages + 1,): where each passage's facts begin.
        passage_facts: int32 of shape (triples,): the facts of each passage, as often as it states them.
        entity_passages: int32 of shape (entities,): how many passages mention each entity.
    """

    entity_ids: Int64s
    chunk_ids: Int64s
    indptr: Int64s
    indices: Int32s
    fact: Float32s
    mention: Float32s
    synonym: Float32s
    subjects: Int32s
    objects: Int32s
    passage_offsets: Int64s
    passage_facts: Int32s
    entity_passages: Int32s

    @property
    def entities(self) -> int:
        """The number of entities."""
        return len(self.entity_ids)

    @property
    def passages(self) -> int:
        """The number of passages."""
        return len(self.chunk_ids)

    @property
    def nodes(self) -> int:
        """Entities and passages together."""
        return self.entities + self.passages

    def save(self, folder: Path) -> None:
        """Write each array as `.npy` into a folder."""
        save_arrays(folder, **vars(self))

    @classmethod
    def open(cls, folder: Path) -> Graph:
        """Map what `save` wrote; a `CorruptFileError` says that the arrays do not belong together."""
        graph = cls(*open_arrays(folder, **{field.name: _TYPES[str(field.type)] for field in fields(cls)}))
        agree = (
            len(graph.indptr) == graph.nodes + 1
            and len({len(graph.indices), len(graph.fact), len(graph.mention), len(graph.synonym)}) == 1
            and len(graph.subjects) == len(graph.objects)
            and len(graph.passage_offsets) == graph.passages + 1
            and len(graph.entity_passages) == graph.entities
        )
        check_arrays(agree, folder, "the arrays of the graph")
        graph._check(folder)
        return graph

    def _check(self, folder: Path) -> None:
        """Refuse numbers by which a walk would leave the arrays."""
        check_offsets(self.indptr, len(self.indices), folder, "indptr")
        check_offsets(self.passage_offsets, len(self.passage_facts), folder, "passage_offsets")
        check_places(self.indices, self.nodes, folder, "indices")
        check_places(self.passage_facts, len(self.subjects), folder, "passage_facts")
        check_places(self.entity_passages, self.passages + 1, folder, "entity_passages")
        for name in ("subjects", "objects"):
            check_places(getattr(self, name), self.entities, folder, name)
        for name in ("fact", "mention", "synonym"):
            check_weights(getattr(self, name), folder, name)
