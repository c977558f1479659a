"""What an extractor is: documents with their chunks in, triples of every chunk out. Testable without Ray."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.ops.base import Work


@dataclass(frozen=True, slots=True)
class Passages:
    """A document and its chunks.

    Attributes:
        doc_id: the document's id.
        title: its title.
        texts: the texts of its chunks, in order.
        source: the file that it was read from.
        line: its line there.
    """

    doc_id: int
    title: str
    texts: tuple[str, ...]
    source: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True)
class Raw:
    """A triple as it was found, not yet judged.

    Attributes:
        value: three strings, if all is well.
        source: the file where it stands.
        line: the line there.
    """

    value: Any
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in one document.

    Attributes:
        triples: for each of its chunks.
        problems: what could not be used at all; they count against the recipe's `max_errors`.
    """

    triples: list[list[Raw]]
    problems: list[BadRow] = field(default_factory=list)


class Extractor(Protocol):
    """Finds triples.

    Attributes:
        version: part of every fingerprint; raised when the output changes.
    """

    version: ClassVar[int]

    def __init__(self, settings: Any, work: Work) -> None:
        """Take the recipe's section and what an op may use; load what is needed, once a worker."""

    @classmethod
    def check(cls, settings: Any) -> None:
        """Look for what it needs, before any work.

        Raises:
            MnemodexError: something is missing.
        """

    def begin(self, given: Path | None) -> None:
        """Begin a partition, with the file that was set aside for it."""

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """Return what is found in each document."""

    def counts(self) -> dict[str, int]:
        """Return what is worth keeping of the partition: tokens, answers."""
