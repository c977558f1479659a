"""What of a graph is drawn for a question."""

from __future__ import annotations

import numpy as np
import pytest

from mnemodex.indexers.graph.graph import Graph
from mnemodex.retrievers.graph.method import Activation
from mnemodex.retrievers.graph.space import Passage
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph, subgraph_of

NAMES = ["Lilli", "Speyer", "Amsterdam", "Amstel", "Lilly", "Nobody"]
FACTS = [(0, "directed by", 1), (1, "died in", 2), (3, "flows through", 2)]
MENTIONS = [(0, 0), (1, 0), (1, 1), (2, 1), (3, 2), (2, 2), (4, 0)]
SYNONYMS = [(0, 4, 0.9)]


class SmallSpace:
    """A space whose graph is made from lists."""

    def __init__(self):
        weights = {}
        for kind, pairs in (
            ("fact", [(one, other, 1.0) for one, _, other in FACTS]),
            ("mention", [(entity, len(NAMES) + passage, 1.0) for entity, passage in MENTIONS]),
            ("synonym", SYNONYMS),
        ):
            for one, other, weight in pairs:
                for pair in ((one, other), (other, one)):
                    weights.setdefault(pair, dict.fromkeys(("fact", "mention", "synonym"), 0.0))[kind] = weight
        pairs = sorted(weights)
        nodes = len(NAMES) + 3
        subjects, objects = zip(*((one, other) for one, _, other in FACTS), strict=True)
        self.graph = Graph(
            entity_ids=np.arange(len(NAMES)),
            chunk_ids=np.arange(3),
            indptr=np.searchsorted([pair[0] for pair in pairs], np.arange(nodes + 1)),
            indices=np.array([pair[1] for pair in pairs], np.int32),
            **{
                kind: np.array([weights[pair][kind] for pair in pairs], np.float32)
                for kind in ("fact", "mention", "synonym")
            },
            subjects=np.array(subjects, np.int32),
            objects=np.array(objects, np.int32),
            passage_offsets=np.array([0, 1, 2, 3]),
            passage_facts=np.arange(3, dtype=np.int32),
            entity_passages=np.ones(len(NAMES), np.int32),
        )

    def names(self, entities):
        return [NAMES[entity] for entity in entities]

    def facts(self, facts):
        return [(NAMES[one], predicate, NAMES[other]) for one, predicate, other in (FACTS[fact] for fact in facts)]

    def read(self, passages):
        return [Passage(f"Title {passage}", f"Text {passage}.") for passage in passages]


def test_a_subgraph_has_what_was_linked_its_ends_and_what_joins_them():
    activation = Activation(
        facts=[(1, 0.8), (0, 0.5)], rewrites=[("Where is Amsterdam?", 0.7)], entities=[(2, 0.3), (4, 0.2), (0, 0.1)]
    )
    found = subgraph_of(SmallSpace(), activation, [(1, 0.9), (0, 0.4)], "Where did he die?")
    assert {node.label: node.weight for node in found.nodes if node.kind == "entity"} == {
        "Speyer": 0.0,
        "Lilli": 0.1,
        "Amsterdam": 0.3,
        "Lilly": 0.2,
    }
    passages = [(node.label, node.detail, node.weight) for node in found.nodes if node.kind == "passage"]
    assert passages == [("Title 1", "Text 1.", 0.9), ("Title 0", "Text 0.", 0.4)]
    label = {node.id: node.label for node in found.nodes}
    told = {(label[edge.source], edge.kind, label[edge.target]) for edge in found.edges}
    assert told == {
        ("Speyer", "fact", "Amsterdam"),
        ("Lilli", "fact", "Speyer"),
        *(("Where did he die?", "seed", name) for name in ("Speyer", "Amsterdam", "Lilli")),
        *((name, "mention", "Title 0") for name in ("Lilli", "Speyer", "Lilly")),
        *((name, "mention", "Title 1") for name in ("Speyer", "Amsterdam")),
        ("Lilli", "synonym", "Lilly"),
    }
    assert Edge("e1", "e2", "died in", "fact", 0.8) in found.edges
    assert Edge("q", "e1", "", "seed", 0.8) in found.edges
    assert next(edge.weight for edge in found.edges if edge.kind == "synonym") == pytest.approx(0.9)
    assert found.notes == ("expanded query: Where is Amsterdam?",)


def test_a_question_that_the_graph_was_not_asked_says_why():
    found = subgraph_of(SmallSpace(), Activation(fallback="no fact is like the question"), [(2, 0.3)], "Why?")
    assert [node.kind for node in found.nodes] == ["question", "passage"]
    assert found.edges == []
    assert found.notes == ("no fact is like the question",)


def test_a_question_without_hits_has_a_subgraph():
    assert [node.label for node in subgraph_of(SmallSpace(), Activation(), [], "Why?").nodes] == ["Why?"]


def test_a_subgraph_is_a_graph_of_networkx_with_all_that_it_knows():
    nodes = [
        Node("q", "Who?", "question", 1.0),
        Node("e0", "Lilli", "entity", 0.3),
        Node("e1", "Speyer", "entity", 0.1),
    ]
    nodes.append(Node("p0", "Film", "passage", 0.9, "Lilli is a film."))
    edges = [Edge("e0", "e1", "directed by", "fact", 0.8), Edge("e0", "e1", "starred", "fact", 0.2)]
    edges += [Edge("q", "e0", "", "seed", 0.8), Edge("e0", "p0", "", "mention", 1.0)]
    graph = Subgraph("Who?", nodes, edges, ("expanded query: Who was it?",)).to_networkx()
    assert graph.is_directed() and graph.is_multigraph()
    assert graph.graph == {"question": "Who?", "notes": ("expanded query: Who was it?",)}
    assert list(graph) == ["q", "e0", "e1", "p0"]
    assert graph.nodes["p0"] == {"label": "Film", "kind": "passage", "weight": 0.9, "detail": "Lilli is a film."}
    assert list(graph.edges(data=True)) == [
        ("q", "e0", {"label": "", "kind": "seed", "weight": 0.8}),
        ("e0", "e1", {"label": "directed by", "kind": "fact", "weight": 0.8}),
        ("e0", "e1", {"label": "starred", "kind": "fact", "weight": 0.2}),
        ("e0", "p0", {"label": "", "kind": "mention", "weight": 1.0}),
    ]


def test_a_graph_of_networkx_has_no_edges_without_their_ends():
    nodes = [Node("e0", "Lilli", "entity", 0.3)]
    edges = [
        Edge("e0", "gone", "", "mention", 1.0),
        Edge("gone", "e0", "x", "fact", 1.0),
        Edge("e0", "e0", "is", "fact", 1.0),
    ]
    graph = Subgraph("Who?", nodes, edges).to_networkx()
    assert list(graph) == ["e0"] and list(graph.edges) == [("e0", "e0", 0)]


def test_an_empty_subgraph_is_an_empty_graph_of_networkx():
    graph = Subgraph("Who?", [], []).to_networkx()
    assert len(graph) == 0 and graph.graph["question"] == "Who?"


def test_what_nothing_joins_to_the_question_or_a_hit_is_left_out():
    activation = Activation(facts=[(1, 0.8)], entities=[(5, 0.9), (0, 0.3), (4, 0.2)])
    found = subgraph_of(SmallSpace(), activation, [(1, 0.9)], "Where did he die?")
    ends = {end for edge in found.edges for end in (edge.source, edge.target)}
    assert {node.label for node in found.nodes if node.kind == "entity"} == {"Speyer", "Amsterdam"}
    assert {node.id for node in found.nodes} == ends


def test_names_that_the_question_holds_are_where_the_walk_begins():
    found = subgraph_of(SmallSpace(), Activation(entities=[(2, 0.3)], linked=[3]), [(2, 0.9)], "What is the Amstel?")
    assert [edge for edge in found.edges if edge.kind == "seed"] == [Edge("q", "e3", "", "seed", 1.0)]
