"""Evidence for passages: which way leads from the question to each, and how it reads."""

from __future__ import annotations

import pytest

from mnemodex.retrievers.graph.evidence import ALONE, with_evidence
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph


def evidence(edges, hits=1, names=("Lilli", "Speyer", "Amsterdam", "")):
    """What the evidence of each passage says."""
    nodes = [Node("q", "Who?", "question", 1.0), *(Node(f"e{n}", name, "entity", 0.1) for n, name in enumerate(names))]
    nodes += [Node(f"p{n}", f"Title {n}", "passage", 1.0) for n in range(hits)]
    graph = with_evidence(Subgraph("Who?", nodes, edges))
    vectors = [edge[:2] for edge in graph.edges(data="kind") if edge[2] == "vector"]
    shown = []
    for n in range(hits):
        links = graph.nodes[f"p{n}"]["evidence"]
        assert (("q", f"p{n}") in vectors) == (links[0].kind == "vector") and graph.nodes[f"p{n}"]["rank"] == f"{n + 1}"
        shown.append(" ".join(f"{link.joint} {link.text}".strip() for link in links))
    return shown


def seed(entity, weight=0.5):
    return Edge("q", entity, "", "seed", weight)


def mention(entity, passage, weight=1.0):
    return Edge(entity, passage, "", "mention", weight)


MADE = Edge("e0", "e1", "made by", "fact", 0.5)


def test_a_linked_fact_whose_ends_a_passage_mentions_leads_to_it():
    edges = [seed("e0"), seed("e1"), MADE, Edge("e1", "e2", "died in", "fact", 0.9), seed("e2", 0.9)]
    edges += [mention("e0", "p0"), mention("e1", "p0")]
    assert evidence(edges) == ["question → Lilli — made by → Speyer"]


def test_else_the_shortest_way_leads_to_it_over_the_heaviest_edges():
    edges = [seed("e0"), seed("e1", 0.9), mention("e0", "p0"), mention("e1", "p0"), mention("e2", "p0")]
    assert evidence(edges) == ["question → Speyer"]
    edges = [seed("e1"), MADE, Edge("e0", "e2", "", "synonym", 0.9), mention("e2", "p0")]
    assert evidence(edges) == ["question → Speyer ← made by — Lilli = Amsterdam"]


def test_a_name_of_a_better_hit_leads_on():
    edges = [mention("e0", "p0"), mention("e0", "p1"), mention("e2", "p2")]
    assert evidence(edges, hits=3) == [ALONE, "question → hit 1 → Lilli", ALONE]


def test_a_passage_that_nothing_leads_to_is_found_by_its_vector():
    assert evidence([seed("e0"), MADE, mention("e2", "p1")], hits=2) == [ALONE, ALONE]


def test_what_has_no_text_is_named():
    edges = [seed("e3"), seed("e0"), Edge("e3", "e0", " ", "fact", 1.0), mention("e3", "p0"), mention("e0", "p0")]
    assert evidence(edges) == ["question → (no name) — (no predicate) → Lilli"]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, 0.0])
def test_weights_that_are_no_numbers_are_no_trouble(weight):
    edges = [seed("e0", weight), seed("e1"), Edge("e0", "e1", "made by", "fact", weight), mention("e0", "p0", weight)]
    assert evidence(edges) == ["question → Lilli"]


def test_a_fact_about_itself_and_a_subgraph_without_a_question_are_no_trouble():
    assert evidence([seed("e0"), Edge("e0", "e0", "is", "fact", 1.0), mention("e0", "p0")]) == ["question → Lilli"]
    graph = with_evidence(Subgraph("Who?", [Node("p0", "Title", "passage", 1.0)], []))
    assert [link.text for link in graph.nodes["p0"]["evidence"]] == [ALONE]
