"""Measure personalised PageRank on graphs of growing size, against igraph, which HippoRAG walks with.

    python benchmarks/graph_ppr.py [--graph FOLDER] [--copies 1 10 50] [--questions 16] [--json FILE]

With `--graph` (a folder that holds the arrays of a graph index) the graph is that one, copied; one edge in five of a
copy leads to another one, so that they are one graph. Without it a scale-free random graph of 18,000 nodes is copied. A
question has the ends of 5 facts and 200 passages as seeds, weighed as HippoRAG 2 does; half of the passages are near
the facts. CPU time of one thread; the overlap is that of the best 50 passages with igraph's.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import igraph
import numpy as np
from report import publish

from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.indexers.graph.graph import Graph
from mnemodex.retrievers.graph.ppr import Mass, Walk, Walker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ENTITIES, PASSAGES = 16_000, 2_000
ELSEWHERE = 0.2
"""The part of edges that lead to another copy."""
NOTHING = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def random_edges(rng: np.random.Generator) -> tuple[int, int, Edges]:
    """Entities, passages, and 3.6 edges a node: entities join those that many have joined, passages mention ten."""
    left = np.repeat(np.arange(1, ENTITIES), 3)
    right = (left * rng.random(len(left)) ** 2).astype(np.int64)
    mentioned = (ENTITIES * rng.random(10 * PASSAGES) ** 2).astype(np.int64)
    passages = ENTITIES + np.repeat(np.arange(PASSAGES), 10)
    joined = np.full(len(left), 2, np.float32), np.ones(len(mentioned), np.float32)
    edges = np.concatenate([left, mentioned]), np.concatenate([right, passages]), np.concatenate(joined)
    return ENTITIES, PASSAGES, Edges(*edges)


def edges_of(folder: Path) -> tuple[int, int, Edges]:
    """The edges of a graph index, weighted as HippoRAG 2 does."""
    graph = Graph.open(folder)
    total = Walker(fact=2, synonym=2, overwrite=True).weights(graph)
    rows = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    once = rows < graph.indices
    return graph.entities, graph.passages, Edges(rows[once], np.asarray(graph.indices)[once], total[once])


def copied(edges: Edges, nodes: int, copies: int, rng: np.random.Generator) -> Edges:
    """Copy after copy; a part of the edges of each ends in a random one."""
    first = np.repeat(np.arange(copies), len(edges.left)) * nodes
    other = np.where(rng.random(len(first)) < ELSEWHERE, rng.integers(0, copies, len(first)) * nodes, first)
    return Edges(
        np.tile(edges.left, copies) + first, np.tile(edges.right, copies) + other, np.tile(edges.weights, copies)
    )


def seeds_of(
    graph: tuple[NDArray[np.int64], NDArray[np.int32]],
    is_passage: NDArray[np.bool_],
    count: int,
    rng: np.random.Generator,
) -> list[Mass]:
    """The ends of 5 facts, and 200 passages: half of them near these, half anywhere."""
    indptr, indices = graph
    entities, passages = np.flatnonzero(~is_passage & (np.diff(indptr) > 1)), np.flatnonzero(is_passage)
    found = []
    for _ in range(count):
        subjects = rng.choice(entities, 5)
        around = [indices[indptr[node] : indptr[node + 1]] for node in subjects]
        objects = [rng.choice(row[~is_passage[row]]) if not is_passage[row].all() else row[0] for row in around]
        ends = np.unique(np.concatenate([subjects, objects]))
        near = np.unique(np.concatenate([indices[indptr[node] : indptr[node + 1]] for row in around for node in row]))
        near = near[is_passage[near]]
        near = rng.choice(near, min(100, len(near)), replace=False)
        likely = np.unique(np.concatenate([near, rng.choice(passages, 200 - len(near), replace=False)]))
        likely = np.setdiff1d(likely, ends)
        masses = [rng.random(len(ends)) / np.diff(indptr)[ends], 0.05 * rng.uniform(0.5, 1, len(likely))]
        found.append(Mass(np.concatenate([ends, likely]), np.concatenate(masses)))
    return found


def timed(ask: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds and the answer."""
    start = time.process_time()
    answer = ask()
    return time.process_time() - start, answer


def by_igraph(graph: igraph.Graph, total: list[float], resets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Question by question, as HippoRAG asks."""
    ask = partial(graph.personalized_pagerank, damping=0.5, directed=False, weights=total, implementation="prpack")
    return np.array([ask(reset=reset) for reset in resets])


def spread(mass: Mass, nodes: int) -> NDArray[np.float64]:
    everywhere = np.zeros(nodes)
    everywhere[mass.nodes] = mass.values
    return everywhere


def overlap(found: NDArray[np.floating], expected: NDArray[np.floating], kept: NDArray[np.int64]) -> float:
    """The part of the best 50 of `kept` nodes that both have, over questions."""
    both = [
        len(set(np.argsort(-one[kept], kind="stable")[:50]) & set(np.argsort(-other[kept], kind="stable")[:50]))
        for one, other in zip(found, expected, strict=True)
    ]
    return float(np.mean(both)) / 50


def measure(base: tuple[int, int, Edges], copies: int, questions: int) -> list[dict[str, Any]]:
    """A row for each way on one size of graph."""
    rng = np.random.default_rng(copies)
    entities, passages, some = base
    nodes = (entities + passages) * copies
    edges = copied(some, entities + passages, copies, rng)
    seconds, joined = timed(lambda: adjacency(nodes, 0, facts=edges, mentions=NOTHING, synonyms=NOTHING))
    print(f"{nodes:,} nodes, {len(edges.left):,} edges: sorted in {seconds:.2f} CPU s", flush=True)
    is_passage = np.tile(np.arange(entities + passages) >= entities, copies)
    kept = np.flatnonzero(is_passage)
    seeds = seeds_of((joined.indptr, joined.indices), is_passage, questions, rng)
    resets = np.array([spread(mass, nodes) for mass in seeds])
    graph = igraph.Graph(n=nodes, edges=np.stack([edges.left, edges.right], axis=1))
    few = resets[: 4 if nodes > 100_000 else questions]
    ours = Walk(joined.indptr, joined.indices, joined.fact)
    peer, expected = timed(lambda: by_igraph(graph, edges.weights.tolist(), few))
    peer /= len(few)
    ways: dict[str, Callable[[], Any]] = {
        "exact, float64": lambda: ours.exact(resets),
        "batched, float32": lambda: ours.batched(resets.astype(np.float32)),
    }
    ways |= {f"push, epsilon {epsilon:g}": partial(ours.push, seeds, epsilon=epsilon) for epsilon in (1e-5, 1e-6, 1e-7)}
    rows = [{"nodes": nodes, "way": "igraph, prpack", "ms a question": peer * 1e3, "igraph's time over it": 1.0}]
    for way, ask in ways.items():
        ask()
        best = min(timed(ask)[0] for _ in range(3)) / questions
        answer = ask()
        found = answer if isinstance(answer, np.ndarray) else np.array([spread(mass, nodes) for mass in answer])
        rows.append(
            {
                "nodes": nodes,
                "way": way,
                "ms a question": best * 1e3,
                "igraph's time over it": peer / best,
                "best 50 passages in common": overlap(found[: len(few)], expected, kept),
                "nodes met": float(np.mean([(row > 0).sum() for row in found])),
            }
        )
    return rows


def main() -> None:
    """Measure each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--graph", type=Path, help="a folder with the arrays of a graph index")
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    base = edges_of(options.graph) if options.graph else random_edges(np.random.default_rng(0))
    rows = [row for copies in options.copies for row in measure(base, copies, options.questions)]
    publish("Personalised PageRank, damping 0.5", rows, json_path=options.json)


if __name__ == "__main__":
    main()
