"""The subgraph of a knowledge graph that answers a question, for pictures and for networkx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.method import Activation
    from mnemodex.retrievers.graph.space import Space

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
        nodes: passages in the order of their ranks.
        edges: those whose ends are not among the nodes are not drawn.
        notes: the expanded queries, what was left out, and why the graph was not used, if so.
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

    It has the facts that were linked to the question and their ends, the entities with the most probability, the first
    hits (given by their passages' numbers and scores, best first), and the mentions and synonyms among them. Entities
    that nothing joins to the question or to a hit are left out.
    """
    facts, scores = [fact for fact, _ in activation.facts[:_FACTS]], [score for _, score in activation.facts[:_FACTS]]
    subjects, objects = space.graph.subjects[facts].tolist(), space.graph.objects[facts].tolist()
    probability = dict(activation.entities)
    # A name that a question holds is certain.
    best = dict.fromkeys(activation.linked, 1.0)
    edges: list[Edge] = []
    for subject, object_, (_, predicate, _), score in zip(subjects, objects, space.facts(facts), scores, strict=True):
        edges.append(Edge(f"e{subject}", f"e{object_}", predicate, "fact", float(max(score, 0.0))))
        for entity in (subject, object_):
            best[entity] = max(best.get(entity, 0.0), float(score))
    edges += [Edge("q", f"e{entity}", "", "seed", score) for entity, score in best.items()]
    entities = list(dict.fromkeys([*best, *probability]))[: max(_ENTITIES, len(best))]
    hits = list(passages)[:_PASSAGES]
    joins = _joins(space.graph, entities, [passage for passage, _ in hits])
    joined = {node for edge in (*edges, *joins) if edge.kind != "synonym" for node in (edge.source, edge.target)}
    edges += [edge for edge in joins if not joined.isdisjoint((edge.source, edge.target))]
    drawn = {node for edge in edges for node in (edge.source, edge.target)}
    entities = [entity for entity in entities if f"e{entity}" in drawn]
    nodes = [Node("q", question, "question", 1.0)]
    for entity, name in zip(entities, space.names(entities), strict=True):
        nodes.append(Node(f"e{entity}", name, "entity", float(probability.get(entity, 0.0))))
    for (passage, score), text in zip(hits, space.read([passage for passage, _ in hits]), strict=True):
        nodes.append(Node(f"p{passage}", text.title, "passage", float(max(score, 0.0)), text.text))
    notes = [f"expanded query: {rewrite}" for rewrite, _ in activation.rewrites]
    notes += [f"left out: {what}" for what in activation.left_out]
    return Subgraph(question, nodes, edges, (*notes, *([activation.fallback] if activation.fallback else ())))


def _joins(graph: Graph, entities: Sequence[int], passages: Sequence[int]) -> list[Edge]:
    """Return mentions and synonyms among nodes: one edge a pair."""
    ids = {entity: f"e{entity}" for entity in entities}
    ids |= {graph.entities + passage: f"p{passage}" for passage in passages}
    nodes = np.array(sorted(ids), np.int64)
    edges = []
    for entity in entities:
        # Neighbours are ascending, and may be a hundred thousand: the few nodes are looked for in them.
        pairs = slice(int(graph.indptr[entity]), int(graph.indptr[entity + 1]))
        near = graph.indices[pairs]
        position = np.searchsorted(near, nodes)
        inside = position < len(near)
        position = position[inside][near[position[inside]] == nodes[inside]]
        columns = (array[position].tolist() for array in (near, graph.mention[pairs], graph.synonym[pairs]))
        for node, mention, cosine in zip(*columns, strict=True):
            if mention > 0:
                edges.append(Edge(ids[entity], ids[node], "", "mention", mention))
            elif cosine > 0 and entity < node:
                edges.append(Edge(ids[entity], ids[node], "", "synonym", cosine))
    return edges
