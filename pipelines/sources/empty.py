"""No documents at all: the source of a memory that has question-answer pairs only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.pipelines.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Record, Split
    from mnemodex.schemas.source_sections import NoSource


class EmptySource(Source):
    """A source without splits."""

    def __init__(self, settings: NoSource) -> None:
        pass

    @override
    def plan(self) -> list[Split]:
        return []

    @override
    def read(self, split: Split) -> Iterator[Record | BadRow]:
        return iter(())
