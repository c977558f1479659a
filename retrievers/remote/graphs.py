"""Subgraphs as calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.base import check
from mnemodex.retrievers.graph.subgraph import Edge, Node, Subgraph
from mnemodex.retrievers.remote.calls import Call, Request

if TYPE_CHECKING:
    from mnemodex.retrievers.remote.catalogue import Catalogue


def subgraph_call(catalogue: Catalogue, index: str, question: str, k: int) -> Call[Subgraph]:
    """Return the call for the part of a graph that answers a question, with its first k passages."""
    (checked,) = check([question], k)

    def read(bodies: list[Any]) -> Subgraph:
        (body,) = bodies
        nodes, edges = [Node(**node) for node in body["nodes"]], [Edge(**edge) for edge in body["edges"]]
        return Subgraph(body["question"], nodes, edges, tuple(body["notes"]))

    return Call((Request("/v1/graph", {"memory": catalogue.name, "index": index, "question": checked, "k": k}),), read)
