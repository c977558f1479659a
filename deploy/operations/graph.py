"""`graph`: the part of a graph that answers a question, as data and as a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mnemodex.deploy.operations.base import Form, retriever_of

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served

_MOST = 8
"""Passages that a picture has room for."""


class GraphForm(Form):
    """A question to a graph.

    Attributes:
        index: of type graph.
        question: that is asked.
        k: passages of the picture.
    """

    index: str
    question: str
    k: int = Field(default=_MOST, ge=1, le=_MOST)


def graph(served: Served, request: GraphForm, access: Access) -> dict[str, Any]:
    """Return the nodes and edges that lead from a question to its hits, notes on the search, and their picture as SVG.

    The picture is one SVG element that refers to nothing outside; its colours are dark where people want that.
    """
    from mnemodex.retrievers.graph.drawing.svg import to_svg
    from mnemodex.retrievers.graph.retriever import GraphRetriever

    access.admit("search", served.name, request.index)
    access.require_all_rows("the picture of a graph", "its facts and names are those of the whole corpus")
    retriever = retriever_of(served, request.index, GraphRetriever, "graph")
    with served.locks[request.index]:
        subgraph = retriever.subgraph(request.question, request.k)
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "index": request.index,
        "question": subgraph.question,
        "notes": list(subgraph.notes),
        "nodes": [asdict(node) for node in subgraph.nodes],
        "edges": [asdict(edge) for edge in subgraph.edges],
        "svg": to_svg(subgraph, dark=True),
    }
