"""The subgraph of a knowledge graph that answers a question, for pictures and for networkx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx
    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.space import Activation, Space

_FACTS = 10
_ENTITIES = 16
_PASSAGES = 8
"""More of each makes a picture unreadable."""


@dataclass(frozen=True, slots=True)
class Node:
    """A question, an entity or a passage.

    Attributes:
        id: unique in its subgraph.
        label: its name, as people read it.
        kind: what it is.
        weight: not negative; compared with that of other nodes of its kind only.
        detail: more of it, which is shown where there is room: a passage's text.
    """

    id: str
    label: str
    kind: Literal["question", "entity", "passage"]
    weight: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """What joins two nodes, given by their ids.

    Attributes:
        source: the subject of a fact, the entity of a mention, the question of a seed.
        target: the other end.
        label: a fact's predicate.
        kind: a fact, a mention of an entity in a passage, two names for one thing, or where the walk began.
        weight: not negative; compared with that of other edges of its kind only.
    """

    source: str
    target: str
    label: str
    kind: Literal["fact", "mention", "synonym", "seed"]
    weight: float


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Nodes and edges that belong to one question.

    Attributes:
        question: the question.
        nodes: passages in the order of their ranks.
        edges: those whose ends are not among the nodes are not drawn.
        notes: the questions that were asked in its place, or why the graph was not asked.
    """

    question: str
    nodes: list[Node]
    edges: list[Edge]
    notes: tuple[str, ...] = ()

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return the subgraph for networkx; edges whose ends are not among the nodes are left out.

        Nodes have the attributes label, kind, weight and detail; edges have label, kind and weight; the graph has
        question and notes.
        """
        import networkx as nx

        graph = nx.MultiDiGraph(question=self.question, notes=self.notes)
        for node in self.nodes:
            graph.add_node(node.id, label=node.label, kind=node.kind, weight=node.weight, detail=node.detail)
        for edge in self.edges:
            if edge.source in graph and edge.target in graph:
                graph.add_edge(edge.source, edge.target, label=edge.label, kind=edge.kind, weight=edge.weight)
        return graph


def subgraph_of(space: Space, activation: Activation, passages: Sequence[tuple[int, float]], question: str) -> Subgraph:
    """Return the subgraph that answers a question: as much of it as a picture holds.

    It has the facts that were linked to the question and their ends, the entities with the most probability, the
    first hits, and the mentions and synonyms among them.

    Args:
        space: the graph with its texts.
        activation: why the question was answered so.
        passages: numbers of the hits' passages with their scores, best first.
        question: the question.
    """
    linked = activation.facts[:_FACTS]
    probability = dict(activation.entities)
    numbers = [number for number, _ in linked]
    subjects, objects = space.graph.subjects[numbers].tolist(), space.graph.objects[numbers].tolist()
    ends = [*subjects, *objects]
    rest = [entity for entity in probability if entity not in set(ends)]
    entities = list(dict.fromkeys([*ends, *rest]))
    entities = entities[: max(_ENTITIES, len(set(ends)))]
    shown = list(passages)[:_PASSAGES]
    nodes = [Node("q", question, "question", 1.0)]
    for entity, name in zip(entities, space.names(entities), strict=True):
        nodes.append(Node(f"e{entity}", name, "entity", float(probability.get(entity, 0.0))))
    for (passage, score), text in zip(shown, space.read([passage for passage, _ in shown]), strict=True):
        nodes.append(Node(f"p{passage}", text.title, "passage", float(max(score, 0.0)), text.text))
    edges = [
        Edge(f"e{subject}", f"e{object_}", predicate, "fact", float(max(score, 0.0)))
        for subject, object_, (_, predicate, _), (_, score) in zip(
            subjects, objects, space.facts(numbers), linked, strict=True
        )
    ]
    edges += _seeds(subjects, objects, linked)
    edges += _joins(space.graph, entities, [passage for passage, _ in shown])
    notes = [f"asked as: {rewrite}" for rewrite, _ in activation.rewrites]
    return Subgraph(question, nodes, edges, (*notes, *([activation.fallback] if activation.fallback else ())))


def _seeds(subjects: list[int], objects: list[int], linked: Sequence[tuple[int, float]]) -> list[Edge]:
    """Return edges from the question to the ends of its facts, as strong as the best fact of each."""
    best: dict[int, float] = {}
    for subject, object_, (_, score) in zip(subjects, objects, linked, strict=True):
        for entity in (subject, object_):
            best[entity] = max(best.get(entity, 0.0), float(score))
    return [Edge("q", f"e{entity}", "", "seed", score) for entity, score in best.items()]


def _joins(graph: Graph, entities: Sequence[int], passages: Sequence[int]) -> list[Edge]:
    """Return mentions and synonyms among nodes: one edge a pair."""
    shown = {entity: f"e{entity}" for entity in entities}
    shown |= {graph.entities + passage: f"p{passage}" for passage in passages}
    wanted = np.fromiter(sorted(shown), np.int64, len(shown))
    edges = []
    for entity in entities:
        near, mention, synonym = _neighbours(graph, entity, wanted)
        for node, is_mention, cosine in zip(near.tolist(), mention.tolist(), synonym.tolist(), strict=True):
            if is_mention > 0:
                edges.append(Edge(shown[entity], shown[node], "", "mention", is_mention))
            elif cosine > 0 and entity < node:
                edges.append(Edge(shown[entity], shown[node], "", "synonym", cosine))
    return edges


def _neighbours(
    graph: Graph, node: int, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return those of a node's neighbours that are wanted, and the weights of their mentions and synonyms.

    Neighbours are ascending: the few wanted ones are looked for in them, which may be a hundred thousand.
    """
    part = slice(int(graph.indptr[node]), int(graph.indptr[node + 1]))
    near = graph.indices[part]
    position = np.searchsorted(near, wanted)
    inside = position < len(near)
    position, wanted = position[inside], wanted[inside]
    position = position[near[position] == wanted]
    return near[position], graph.mention[part][position], graph.synonym[part][position]
