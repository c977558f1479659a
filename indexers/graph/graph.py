"""The arrays of a knowledge graph, opened by mmap."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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

    entity_ids: NDArray[np.int64]
    chunk_ids: NDArray[np.int64]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    fact: NDArray[np.float32]
    mention: NDArray[np.float32]
    synonym: NDArray[np.float32]
    subjects: NDArray[np.int32]
    objects: NDArray[np.int32]
    passage_offsets: NDArray[np.int64]
    passage_facts: NDArray[np.int32]
    entity_passages: NDArray[np.int32]

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
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Graph:
        """Map what `save` wrote.

        Raises:
            CorruptFileError: the arrays do not belong together.
        """
        arrays = {
            field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
            for field in fields(cls)
        }
        graph = cls(**arrays)
        pairs = int(graph.indptr[-1])
        agree = (
            len(graph.indptr) == graph.nodes + 1
            and {len(graph.indices), len(graph.fact), len(graph.mention), len(graph.synonym)} == {pairs}
            and len(graph.subjects) == len(graph.objects)
            and len(graph.passage_offsets) == graph.passages + 1
            and len(graph.passage_facts) == graph.passage_offsets[-1]
            and len(graph.entity_passages) == graph.entities
        )
        if not agree:
            msg = f"{folder}: the arrays of the graph differ in length; remove the folder and build again"
            raise CorruptFileError(msg)
        return graph
