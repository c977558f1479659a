"""What an extractor is: documents with their chunks in, triples of every chunk out. Testable without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mnemodex.pipelines.component import RecipeComponent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow


@dataclass(frozen=True, slots=True)
class Passages:
    """A document and the texts of its chunks, in order; `source` and `line` say where it was read."""

    doc_id: int
    title: str
    texts: tuple[str, ...]
    source: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class Raw:
    """A triple that is not checked yet, with its file and line there: three strings, if it is a good one."""

    value: Any
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """The triples of each chunk of a document, and problems, which count against the recipe's `max_errors`."""

    triples: list[list[Raw]]
    problems: list[BadRow] = field(default_factory=list)


class Extractor(RecipeComponent, Protocol):
    """Finds triples."""

    def begin(self, given: Path | None) -> None:
        """Begin a partition, with the file that was set aside for it."""

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """Return the triples of each document."""

    def counts(self) -> dict[str, int]:
        """Return counts of the partition for its stats: tokens, answers."""
        return {}
