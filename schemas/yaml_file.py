"""YAML files: read strictly."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import yaml

from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; a file with both is a mistake."""

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


def read_yaml(path: Path, *, kind: str = "a recipe", remedy: str = "write one with `mnemodex init SOURCE`") -> Any:
    """Return what a YAML file holds.

    Args:
        path: the file.
        kind: what it should be, for the message.
        remedy: where it cannot be read.

    Raises:
        RecipeError: the file is missing, is not YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as {kind} ({error}); {remedy}") from error
    try:
        # The loader is a SafeLoader that also refuses equal keys.
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error
