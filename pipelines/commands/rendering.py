"""How `search` prints hits: as chunks. A memory kind names another renderer where its hits say more."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Chunk, Hits, Reason
    from mnemodex.retrievers.memory import Memory

_SNIPPET = 160


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What `search` was asked for."""

    memory: Memory
    index: str
    questions: Sequence[str]
    k: int = 10
    where: str | None = None
    explain: bool = False

    def hits(self) -> Hits:
        """Return the hits of the index."""
        return self.memory.retriever(self.index).search(self.questions, self.k, where=self.where)


class ChunkRenderer:
    """Prints hits as chunks."""

    def __init__(self, request: SearchRequest) -> None:
        self.request = request

    def to_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        hits = self.request.hits()
        listed = [[chunk.to_json() for chunk in chunks] for chunks in hits.chunks()]
        if self.request.explain:
            for hit, reasons in zip(chain(*listed), chain(*hits.reasons()), strict=True):
                hit["reasons"] = [reason.to_json() for reason in reasons]
        return {"index": self.request.index, "hits": listed}

    def print(self) -> None:
        """Print the hits for people."""
        hits = self.request.hits()
        reasons: Sequence[Sequence[Sequence[Reason]]] = hits.reasons() if self.request.explain else ()
        for number, (question, chunks) in enumerate(zip(self.request.questions, hits.chunks(), strict=True)):
            print_chunks(question, chunks, reasons[number] if reasons else ())


def print_chunks(question: str, chunks: Sequence[Chunk], reasons: Sequence[Sequence[Reason]] = ()) -> None:
    """Print the hits of one question for people, each with its reasons."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    console.print(Text(question, style="bold"))
    for chunk in chunks:
        text = " ".join(chunk.text.split())
        snippet = text if len(text) <= _SNIPPET else text[:_SNIPPET] + "…"
        title = f"{chunk.title}  " if chunk.title else ""
        console.print(
            Text.assemble(f"{chunk.rank:>3}  {chunk.score:>8.4f}  ", (title, "cyan"), (f"[{chunk.key}]", "dim"))
        )
        console.print(Text(f"               {snippet}"))
        for reason in reasons[chunk.rank - 1] if reasons else ():
            key = (f"»{reason.text}«", "bold")
            console.print(Text.assemble(f"     {reason.score:>8.4f}  ", key, (f"  {reason.kind}", "dim")))
    if not chunks:
        console.print("  no hits")
    console.print()
