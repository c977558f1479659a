"""Front matter: the fields in YAML between two lines of dashes at the beginning of a Markdown file."""

from __future__ import annotations

import re
from typing import Any

import yaml

from mnemodex.pipelines.sources.arrow_values import to_json

_MOST = 64 << 10
_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


class _Loader(yaml.SafeLoader):
    """YAML without aliases, of which a few lines can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name); write out what it stands for")
        return super().compose_node(parent, index)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the fields of a text and the rest of it; a text that begins with a mere line of dashes has none.

    Raises:
        ValueError: the fields are not YAML.
    """
    matter = _MATTER.match(text)
    if matter is None or matter.end() > _MOST:
        return {}, text
    try:
        fields = yaml.load(matter[1], _Loader)  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ValueError(f"has front matter that is not YAML ({said}); correct it") from error
    return (to_json(fields), text[matter.end() :]) if isinstance(fields, dict) else ({}, text)
