"""Graph retrieval: a method of ranking over a graph index, and why each passage came."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mnemodex.indexers.graph.settings import GraphSettings
from mnemodex.retrievers.base import check
from mnemodex.retrievers.graph.methods import make_method
from mnemodex.retrievers.graph.opened import OpenedSpace
from mnemodex.retrievers.graph.subgraph import subgraph_of
from mnemodex.retrievers.hits import Hits, Reason
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.space import Activation, Scored
    from mnemodex.retrievers.graph.subgraph import Subgraph
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

_BATCH = 32
"""Questions that are ranked at once: as many rows of scores of all passages."""


class GraphRetriever:
    """Ranks chunks by walking a graph of facts, names and passages.

    Methods are `hipporag1` (Gutiérrez et al., 2024), `hipporag2` (Gutiérrez et al., 2025), and our own `bridge` and
    `bridge-lite`, see their modules.

    Raises:
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
    """

    no_match: ClassVar[float | None] = None

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self.settings = GraphSettings.model_validate(entry.settings)
        self._memory = memory
        of = memory.snapshot.index(self.settings.of) if self.settings.of is not None else None
        embed = str(of.settings["embed"]) if of is not None else str(self.settings.embed)
        folders = memory.snapshot.shards(entry)
        self.space = OpenedSpace(memory, folders[0] if folders else None, embed)
        self._method = make_method(self.settings, self.space.graph)

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """See `Retriever.search`.

        Raises:
            ModelError: the encoder is not the one that the index was built with.
        """
        questions = check(queries, k)
        kept = None if where is None else np.flatnonzero(np.isin(self.space.rows.ids, self._memory.ids_where(where)))
        activations: list[Activation] = []

        def scores() -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(questions), _BATCH):
                ranked = self.rank(questions[start : start + _BATCH])
                activations.extend(ranked.activations)
                yield from ranked.scores

        def explain(numbers: NDArray[np.int64]) -> list[list[list[Reason]]]:
            return [
                [self._reasons(activation, passage, first=not rank) for rank, passage in enumerate(mine[mine >= 0])]
                for activation, mine in zip(activations, numbers, strict=True)
            ]

        return Hits.best(self._memory.snapshot, self.space.rows, scores(), k, among=kept, explain=explain)

    def rank(self, questions: Sequence[str]) -> Scored:
        """Scores of all passages, and why: a batch small enough for so many rows."""
        return self._method.score(self.space, questions, self.space.encode(questions))

    def subgraph(self, question: str, k: int = 8) -> Subgraph:
        """Return the subgraph that answers a question, as `write_picture` draws it, with its first k passages."""
        (checked,) = check([question], k)
        scores, (activation,) = self.rank([checked])
        chosen = top_k(scores[0], k, ids=np.asarray(self.space.rows.ids))
        passages = list(zip(chosen.tolist(), scores[0, chosen].tolist(), strict=True))
        return subgraph_of(self.space, activation, passages, checked)

    def _reasons(self, activation: Activation, passage: int, *, first: bool) -> list[Reason]:
        """What spoke for a passage: linked facts that it states, and probable entities that it mentions.

        What concerns the question as a whole stands with its first hit.
        """
        graph = self.space.graph
        stated = set(graph.passage_facts[graph.passage_offsets[passage] : graph.passage_offsets[passage + 1]].tolist())
        node = graph.entities + passage
        near = set(graph.indices[graph.indptr[node] : graph.indptr[node + 1]].tolist())
        facts = [(fact, score) for fact, score in activation.facts if fact in stated]
        entities = [(entity, score) for entity, score in activation.entities if entity in near]
        texts = [" · ".join(parts) for parts in self.space.facts([fact for fact, _ in facts])]
        names = self.space.names([entity for entity, _ in entities])
        return [
            *(Reason("fact", text, score) for text, (_, score) in zip(texts, facts, strict=True)),
            *(Reason("entity", name, score) for name, (_, score) in zip(names, entities, strict=True)),
            *(Reason("asked as", text, score) for text, score in activation.rewrites if first),
            *([Reason("dense alone", activation.fallback, 0.0)] if activation.fallback and first else []),
        ]
