"""YAML files: read strictly."""

from __future__ import annotations

import re
from collections.abc import Hashable
from itertools import chain
from typing import TYPE_CHECKING, Any

import yaml

from mnemodex.schemas.errors import RecipeError, reason
from mnemodex.schemas.store.object_url import refuse_url

if TYPE_CHECKING:
    from pathlib import Path

_SURROGATE = re.compile("[\ud800-\udfff]")

_MERGE = "tag:yaml.org,2002:merge"


_MOST_VALUES = 1_000_000
"""Values of a file, with those of an alias counted each time that it is used."""


_DEEPEST = 100
"""Values inside each other; PyYAML takes a second for a thousand brackets."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word, and lets a few aliases expand to billions of values."""

    _depth = 0

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count(node, {}) > _MOST_VALUES:
            raise yaml.YAMLError(f"its aliases expand to more than {_MOST_VALUES} values; write fewer of them")
        return node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.YAMLError(f"its values are more than {_DEEPEST} levels deep; write fewer brackets")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and _SURROGATE.search(value):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1} holds a lone surrogate; give it as valid Unicode")
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            # Keys that come in by `<<` may be overwritten: that is what it is for.
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key is None or not isinstance(key, Hashable):
                continue
            if key in seen:
                raise yaml.YAMLError(f"duplicate key {key!r} on line {key_node.start_mark.line + 1}")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _count(node: yaml.Node, known: dict[yaml.Node, float]) -> float:
    """Return how many values a node expands to; one inside itself, infinitely many."""
    if node not in known:
        known[node] = float("inf")
        values = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = chain.from_iterable(values) if isinstance(node, yaml.MappingNode) else values
        known[node] = 1 + sum(_count(value, known) for value in inner)
    return known[node]


def read_yaml(path: Path, *, kind: str = "a recipe", remedy: str = "write one with `mnemodex init SOURCE`") -> Any:
    """Return what a YAML file holds.

    Args:
        path: the file.
        kind: what it should be, for the message.
        remedy: where it cannot be read.

    Raises:
        RecipeError: the file is missing, is not YAML, or has a key twice.
    """
    refuse_url(path, RecipeError)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as {kind} ({reason(error)}); {remedy}") from error
    try:
        # The loader is a SafeLoader that refuses more.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError) as error:
        # PyYAML lets the errors of Python through for a date or a number that is none, as 2020-13-45.
        raise RecipeError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
