"""The methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.indexers.graph.settings import ChatModel, GraphSettings
    from mnemodex.retrievers.graph.recognition import Recognition
    from mnemodex.retrievers.graph.space import Method


def _recognition(spec: ChatModel) -> Recognition:
    from mnemodex.indexers.models.chat import Chat
    from mnemodex.retrievers.graph.recognition import Recognition

    return Recognition(Chat(spec.base_url, spec.model, api_key_env=spec.api_key_env))


_LARGE = 50_000
"""Nodes from which on HippoRAG's walks push from their seeds: to meet every node for every question takes longer."""

_SEEDS = 400
"""Passages that are seeds of such a walk."""


def make_method(settings: GraphSettings, graph: Graph) -> Method:
    """The method that settings name, walking in a way that suits the graph's size.

    Raises:
        ImportError: it asks a language model or spaCy, and the extra is not installed.
    """
    way: Literal["push", "batched"] = "push" if graph.nodes > _LARGE else "batched"
    if settings.method == "hipporag1":
        from mnemodex.retrievers.graph.hipporag1 import HippoRAG1
        from mnemodex.retrievers.graph.question_names import question_names

        made = HippoRAG1(question_names)
        made.walker.way = way
        return made
    if settings.method == "hipporag2":
        from mnemodex.retrievers.graph.hipporag2 import HippoRAG2

        keep = _recognition(settings.recognition) if settings.recognition else None
        other = HippoRAG2(keep=keep, passages=_SEEDS if way == "push" else None)
        other.walker.way = way
        return other
    if settings.method == "bridge":
        from mnemodex.retrievers.graph.bridge import Bridge

        return Bridge()
    from mnemodex.retrievers.graph.bridge_lite import BridgeLite

    return BridgeLite()
