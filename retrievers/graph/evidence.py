"""Evidence for the passages of a subgraph: the way from the question to each."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.retrievers.graph.drawing.text import clean

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    import networkx as nx

    from mnemodex.retrievers.graph.subgraph import Subgraph

    _Edge = tuple[Hashable, Hashable, int]

ALONE = "found by its vector alone"
_BLANK = {"fact": "(no predicate)", "entity": "(no name)", "passage": "(no text)", "question": "(no text)"}


class Link(NamedTuple):
    """A step on the way to a passage.

    Attributes:
        joint: what leads to the node: an arrow, a fact's predicate between dashes, or a sign of equality.
        kind: the node's; "vector" of the only link to a passage that neither a fact nor a name leads to.
        text: the node's label; of a passage its rank.
    """

    joint: str
    kind: str
    text: str


def show_label(label: str, kind: str) -> str:
    """Return the label of a node or a fact as one line that is never empty."""
    return clean(label) or _BLANK[kind]


def with_evidence(subgraph: Subgraph) -> nx.MultiDiGraph:
    """Return a subgraph as networkx's, with evidence for its passages, for pictures.

    Its question is a node of it, also where the subgraph has none. Passages have a rank, "1" for the first, and their
    evidence, a list of `Link`; an edge of kind "vector" leads from the question to those that nothing else leads to.
    """
    graph = subgraph.to_networkx()
    questions = [node for node, kind in graph.nodes(data="kind") if kind == "question"] or [("question",)]
    detail = "\n".join(subgraph.notes)
    graph.add_nodes_from(questions, kind="question", label=subgraph.question, detail=detail, weight=1.0)
    ways = _find_ways(graph, questions[0])
    ranks = {passage: str(rank) for rank, passage in enumerate(ways, start=1)}
    for passage, way in ways.items():
        graph.nodes[passage].update(rank=ranks[passage], evidence=list(_describe(graph, way)))
        if len(way) == 2:
            graph.add_edge(*way, label="", kind="vector", weight=0.0)
    return graph


def _find_ways(graph: nx.MultiDiGraph, question: Hashable) -> dict[str, list[Hashable]]:
    """Return for each passage, in order, the nodes of the best way from the question to it, both included.

    A linked fact comes first of which the passage mentions both ends; else the shortest way over entities, where heavy
    edges are shorter, and better hits may lie on it. A way of two nodes is that of a passage found by its vector alone.
    """
    import networkx as nx

    lengths = _lengths(graph)
    known = nx.Graph()
    known.add_node(question)
    facts = []
    for source, target, key, kind in graph.edges(keys=True, data="kind"):
        length = lengths[source, target, key]
        if kind != "mention" and length < known.get_edge_data(source, target, {"length": 3})["length"]:
            known.add_edge(source, target, length=length)
        if kind == "fact" and source != target:
            facts.append((length, source, target))
    ways = {}
    for passage in [node for node, kind in graph.nodes(data="kind") if kind == "passage"]:
        near = [edge for edge in graph.in_edges(passage, keys=True) if graph.edges[edge]["kind"] == "mention"]
        known.add_node(passage)
        known.add_weighted_edges_from(((edge[0], passage, lengths[edge]) for edge in near), weight="length")
        ends = {edge[0] for edge in near}
        stated = [fact for fact in facts if ends.issuperset(fact[1:]) and known.has_edge(question, fact[1])]
        if stated:
            ways[passage] = [question, *min(stated)[1:], passage]
        elif nx.has_path(known, question, passage):
            ways[passage] = nx.dijkstra_path(known, question, passage, weight="length")
        else:
            ways[passage] = [question, passage]
            known.add_edge(question, passage, length=2.0)
    return ways


def _lengths(graph: nx.MultiDiGraph) -> dict[_Edge, float]:
    """Return the length of each edge: 1 of the heaviest of its kind, 2 of one without weight."""
    kinds: dict[str, dict[_Edge, float]] = {}
    for source, target, key, data in graph.edges(keys=True, data=True):
        weight = min(data["weight"], 1e300) if data["weight"] > 0 else 0.0
        kinds.setdefault(data["kind"], {})[source, target, key] = weight
    return {
        edge: 2 - weight / (max(weights.values()) or 1.0)
        for weights in kinds.values()
        for edge, weight in weights.items()
    }


def _describe(graph: nx.MultiDiGraph, way: Sequence[Hashable]) -> Iterator[Link]:
    """Yield the links of a way but for its last node, the passage that it leads to."""
    yield Link("", "vector", ALONE) if len(way) == 2 else Link("", "question", "question")
    for before, node in pairwise(way[:-1]):
        data = graph.nodes[node]
        text = f"hit {data['rank']}" if data["kind"] == "passage" else show_label(data["label"], data["kind"])
        yield Link(_joint(graph, before, node), data["kind"], text)


def _joint(graph: nx.MultiDiGraph, before: Hashable, node: Hashable) -> str:
    """Return what joins two nodes; of several edges a fact, and of facts the heaviest."""
    facts, joint = [], "→"
    for source, target, form in ((before, node, "— {} →"), (node, before, "← {} —")):
        for data in (graph.get_edge_data(source, target) or {}).values():
            if data["kind"] == "fact":
                facts.append((data["weight"], form.format(show_label(data["label"], "fact"))))
            joint = "=" if data["kind"] == "synonym" else joint
    return max(facts)[1] if facts else joint
