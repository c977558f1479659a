"""The methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnemodex.indexers.graph.settings import ChatModel, GraphSettings
    from mnemodex.retrievers.graph.recognition import Recognition
    from mnemodex.retrievers.graph.space import Method


def _recognition(spec: ChatModel) -> Recognition:
    from mnemodex.indexers.chat import Chat
    from mnemodex.retrievers.graph.recognition import Recognition

    return Recognition(Chat(spec.base_url, spec.model, api_key_env=spec.api_key_env))


def make_method(settings: GraphSettings) -> Method:
    """The method that settings name.

    Raises:
        ImportError: it asks a language model or spaCy, and the extra is not installed.
    """
    if settings.method == "hipporag1":
        from mnemodex.retrievers.graph.hipporag1 import HippoRAG1
        from mnemodex.retrievers.graph.question_names import question_names

        return HippoRAG1(question_names)
    if settings.method == "hipporag2":
        from mnemodex.retrievers.graph.hipporag2 import HippoRAG2

        return HippoRAG2(keep=_recognition(settings.recognition) if settings.recognition else None)
    if settings.method == "bridge":
        from mnemodex.retrievers.graph.bridge import Bridge

        return Bridge()
    from mnemodex.retrievers.graph.bridge_lite import BridgeLite

    return BridgeLite()
