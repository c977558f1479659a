"""Sources by their path, and all that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.source_sections import Source as Settings

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Record, Source


def opened(path: Path, *, rows: int = 2048, size: int = 32 << 20, **settings: Any) -> Source:
    """The source of a recipe's section that has this path; `rows` and `size` bound its first splits."""
    return open_source(Settings(path=str(path), **settings), Packing(rows=rows, bytes=size))


def items(source: Source) -> list[Record | BadRow]:
    """The records and bad rows of all splits, in order."""
    return [item for split in source.plan() for item in source.read(split)]
