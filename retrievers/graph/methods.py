"""The methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnemodex.indexers.graph.settings import GraphSettings
    from mnemodex.retrievers.graph.space import Method


def make_method(settings: GraphSettings) -> Method:
    """The method that settings name."""
    raise NotImplementedError
