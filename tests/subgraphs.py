"""Subgraphs to draw."""

from __future__ import annotations

from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph

HOSTILE = [
    "<script>alert(1)</script>",
    "]]></title></svg><script>alert(2)</script>",
    "\"quoted\" & 'single' onload=alert(3)",
    "x" * 10_000,
    "words " * 2_000,
    "nul\0and\x1b[31mescape\x7f",
    "\u202eturned\u202d around\u2066",
    "lone \ud800 surrogate and \ufffe",
    "שלום עולם (abc) 123",
    "e\u0301\u0301\u0301" * 50,
    "👩\u200d👩\u200d👧 family",
    "",
    "   ",
]


def example(labels=("Lilli's Marriage", "Jaap Speyer", "Amsterdam", "Amstel")):
    nodes = [Node("q", "Which river flows there?", "question", 1.0)]
    nodes += [Node(f"e{n}", label, "entity", 0.1 * n) for n, label in enumerate(labels)]
    nodes += [Node(f"p{n}", label, "passage", 1 / (1 + n), f"About {label}.") for n, label in enumerate(labels[:3])]
    last = len(labels) - 1
    edges = [Edge(f"e{n}", f"e{n + 1}", f"to {labels[n + 1]}", "fact", 0.5) for n in range(last)]
    edges += [Edge("q", "e0", "", "seed", 0.5), Edge("e0", f"e{last}", "", "synonym", 0.9)]
    edges += [Edge(f"e{n}", f"p{n % 3}", "", "mention", 1.0) for n in range(len(labels))]
    return Subgraph("Which river flows there?", nodes, edges, ("expanded query: Which river flows through Amsterdam?",))
