"""Graph retrieval: a method of ranking over a graph index, and the evidence for each passage."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.settings import GraphSettings
from mnemodex.retrievers.base import Retriever, check, is_blank
from mnemodex.retrievers.graph.parsing import find_parser
from mnemodex.retrievers.graph.space import Space
from mnemodex.retrievers.graph.subgraph import subgraph_of
from mnemodex.retrievers.history import superseded_facts
from mnemodex.retrievers.hits import MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.method import Activation, Method, Scored
    from mnemodex.retrievers.graph.subgraph import Subgraph
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry

_BATCH = 32
"""Questions that are ranked at once: as many rows of scores of all passages."""
_LARGE, _SEEDS = 50_000, 400
"""Nodes from which on HippoRAG's walks push from their seeds, as meeting every node takes longer; and passages that are
such seeds."""
_MOST_HITS = 100
"""Hits for which it does to know the exact cosines of the passages that are likely near."""


class GraphRetriever(Retriever):
    """Ranks chunks by walking a graph of facts, names and passages.

    A search with `newest` leaves out superseded facts, see `Memory.history`: they are not linked to questions, and no
    walk goes over them. To a passage that states some of them and no fact that holds no walk leads, and no rewrite
    comes of it: it scores by its vector alone.

    Methods are `hipporag1` (Gutiérrez et al., 2024), `hipporag2` (Gutiérrez et al., 2025), and our own `bridge` and
    `bridge-lite`, see their modules.

    Raises:
        CorruptFileError: a file is missing, cut short, or differs from its checksum.
        ModelError: the encoder is not the one that the index was built with.
        ImportError: the method needs a language model or spaCy, and the extra is not installed.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        settings = GraphSettings.model_validate(entry.settings)
        embed = settings.embed if settings.of is None else memory.snapshot.index(settings.of).settings["embed"]
        folders = memory.snapshot.shards(entry)
        folder, left_out = folders[0] if folders else None, memory.snapshot.left_out(entry)
        self.space = Space(memory, folder, str(embed), left_out, words=settings.words)
        triples = memory.snapshot.manifest.recipe.get("triples")
        self._make_method = partial(_make_method, settings, triples, large=self.space.graph.nodes > _LARGE)
        self._method = self._make_method()

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._find(questions, k, where, newest=False)

    @override
    def find_newest(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._find(questions, k, where, newest=True)

    @cached_property
    def _newest(self) -> tuple[Space, Method]:
        """What answers where superseded facts are left out. Methods keep what they compute for one graph."""
        if not len(self.space.graph.subjects):
            raise QueryError(
                f"index {self.name!r}: its graph has no facts, so that none is superseded; leave out newest, or search "
                "an index of type graph whose method uses facts, such as bridge"
            )
        return self.space.without_facts(superseded_facts(self._memory)), self._make_method()

    def _find(self, questions: list[str], k: int, where: str | None, *, newest: bool) -> Hits:
        allowed = None if where is None else self._memory.ids_where(where)
        # A filter may leave nothing of the passages that are likely near.
        exact = allowed is not None or k > _MOST_HITS
        activations: list[Activation] = []

        def scores() -> Iterator[Float32s]:
            for start in range(0, len(questions), _BATCH):
                batch = questions[start : start + _BATCH]
                ranked = self.rank(batch, exact=exact, newest=newest)
                activations.extend(ranked.activations)
                ranked.scores[[is_blank(question) for question in batch]] = MISSING_SCORE
                yield from ranked.scores

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            graph = (self._newest[0] if newest else self.space).graph
            passages = [row[row >= 0].tolist() for row in numbers]
            reasons = [
                [self._evidence(graph, activation, passage) for passage in row]
                for activation, row in zip(activations, passages, strict=True)
            ]
            self._add_sentences(questions, passages, reasons)
            for activation, row in zip(activations, reasons, strict=True):
                if row:
                    row[0] += _of_question(activation)
            return reasons

        return Hits.best(self._memory.snapshot, self.space.rows, scores(), k, allowed=allowed, explain=explain)

    def rank(self, questions: Sequence[str], *, exact: bool = False, newest: bool = False) -> Scored:
        """Return scores of all passages, and the evidence, for a batch small enough for so many rows.

        With `exact`, all vectors of passages are compared, however many they are. With `newest`, superseded facts are
        left out.
        """
        space, method = self._newest if newest else (self.space, self._method)
        space = space.exact() if exact else space
        return method.score(space, questions, space.encode(questions))

    def subgraph(self, question: str, k: int = 8) -> Subgraph:
        """Return the subgraph that answers a question, as `write_picture` draws it, with its first k passages."""
        (checked,) = check([question], k)
        scores, (activation,) = self.rank([checked])
        best = top_k(scores[0], k, ids=np.asarray(self.space.rows.ids))
        passages = list(zip(best.tolist(), scores[0, best].tolist(), strict=True))
        return subgraph_of(self.space, activation, passages, checked)

    def _evidence(self, graph: Graph, activation: Activation, passage: int) -> list[Reason]:
        """Return the linked facts that a passage states, and the probable entities that it mentions."""
        stated = set(graph.passage_facts[graph.passage_offsets[passage] : graph.passage_offsets[passage + 1]].tolist())
        node = graph.entities + passage
        edges = slice(graph.indptr[node], graph.indptr[node + 1])
        # Without superseded facts, passages that state no other ones keep their edges, with no weight.
        near = set(graph.indices[edges][graph.mention[edges] > 0].tolist())
        facts = [(fact, score) for fact, score in activation.facts if fact in stated]
        entities = [(entity, score) for entity, score in activation.entities if entity in near]
        texts = [" · ".join(parts) for parts in self.space.facts([fact for fact, _ in facts])]
        names = self.space.names([entity for entity, _ in entities])
        return [
            *(Reason("fact", text, score) for text, (_, score) in zip(texts, facts, strict=True)),
            *(Reason("entity", name, score) for name, (_, score) in zip(names, entities, strict=True)),
        ]

    def _add_sentences(
        self, questions: Sequence[str], passages: list[list[int]], reasons: list[list[list[Reason]]]
    ) -> None:
        """Give each hit without a fact or an entity its sentence that is nearest to the question."""
        from mnemodex.retrievers.sentences import nearest_sentences

        bare = [
            [passage for passage, own in zip(*row, strict=True) if not own]
            for row in zip(passages, reasons, strict=True)
        ]
        if any(bare):
            texts = [self.space.read(row) if row else [] for row in bare]
            nearest = nearest_sentences(self.space.encoder, self.space.encode(questions), texts, "ip")
            for row, sentences in zip(reasons, map(iter, nearest), strict=True):
                row[:] = [own or [next(sentences)] for own in row]


def _of_question(activation: Activation) -> list[Reason]:
    """Return what concerns a question as a whole: it belongs to the first hit."""
    return [
        *(Reason("expanded query", text, score) for text, score in activation.rewrites),
        *(Reason("left out", what, 0.0) for what in activation.left_out),
        *([Reason("dense alone", activation.fallback, 0.0)] if activation.fallback else []),
    ]


def _make_method(settings: GraphSettings, triples: Mapping[str, Any] | None, *, large: bool) -> Method:
    """Return the method that settings name, walking in a way that suits the graph's size.

    The recipe's section of triples says which language questions are in.
    """
    from mnemodex.retrievers.graph.bridge import Bridge, BridgeLite
    from mnemodex.retrievers.graph.hipporag import HippoRAG1, HippoRAG2, Recognition, question_names

    if settings.method == "bridge-lite":
        return BridgeLite(budget_ms=settings.budget_ms)
    if settings.method == "bridge":
        return Bridge(parser=find_parser(settings.rewrites, triples), budget_ms=settings.budget_ms)
    method: HippoRAG1 | HippoRAG2 = HippoRAG1(question_names)
    if settings.method == "hipporag2":
        keep = Recognition.of(settings.recognition) if settings.recognition is not None else None
        method = HippoRAG2(keep=keep, passages=_SEEDS if large else None)
    method.walker.way = "push" if large else "batched"
    return method
