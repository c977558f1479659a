"""How `search` prints hits: as chunks, or as occurrences in their context. A memory kind names its renderer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from mnemodex.pipelines.commands.output import say
from mnemodex.pipelines.commands.snippets import shorten, snippet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.settings import Language
    from mnemodex.retrievers.hits import Chunk, Hits, Reason
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.snapshot import Snapshot

INDENT = 15
"""Letters that rank and score take in front of a hit."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What `search` was asked for."""

    memory: Memory
    index: str
    questions: Sequence[str]
    k: int = 10
    where: str | None = None
    explain: bool = False
    newest: bool = False

    def hits(self) -> Hits:
        """Return the hits of the index."""
        # An index of another package may have a retriever that takes no more.
        newest: Any = {"newest": True} if self.newest else {}
        hits: Hits = self.memory.retriever(self.index).search(self.questions, self.k, where=self.where, **newest)
        return hits


class ChunkRenderer:
    """Prints hits as chunks."""

    def __init__(self, request: SearchRequest) -> None:
        self.request = request

    def to_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        hits = self.request.hits()
        listed = [[chunk.to_json() for chunk in chunks] for chunks in hits.chunks()]
        return {"index": self.request.index, "hits": self._with_reasons(listed, hits)}

    def _with_reasons(self, listed: list[list[dict[str, Any]]], hits: Hits) -> list[list[dict[str, Any]]]:
        """Give hits as JSON their reasons, if these are asked for."""
        if self.request.explain:
            for hit, reasons in zip(chain(*listed), chain(*hits.reasons()), strict=True):
                hit["reasons"] = [reason.to_json() for reason in reasons]
        return listed

    def print(self) -> None:
        """Print the hits for people."""
        hits = self.request.hits()
        reasons: Sequence[Sequence[Sequence[Reason]]] = hits.reasons() if self.request.explain else ()
        language = language_of(self.request.memory.snapshot, self.request.index)
        for number, (question, chunks) in enumerate(zip(self.request.questions, hits.chunks(), strict=True)):
            print_chunks(question, chunks, reasons[number] if reasons else (), language=language)


class ConcordanceRenderer(ChunkRenderer):
    """Prints the occurrences of phrases."""

    @override
    def print(self) -> None:
        from mnemodex.retrievers.ngram.concordance import concordances

        request = self.request
        index = cast("NgramIndex", request.memory.retriever(request.index))
        documents = index.documents(request.questions)
        answers = concordances(index, request.memory.snapshot, request.questions, request.k, where=request.where)
        spans = pairwise(documents.offsets.tolist())
        for phrase, answer, (start, stop) in zip(request.questions, answers, spans, strict=True):
            count = documents.counts[start:stop].sum()
            say((phrase, "bold"), f"  occurrences: {count:,}  documents: {stop - start:,}")
            for rank, hit in enumerate(answer, start=1):
                title = f"{hit.title}  " if hit.title else ""
                say(f"{rank:>3}  {hit.count:>8}  ", (title, "cyan"), (f"[{hit.key}]", "dim"), indent=INDENT)
                for part in hit.occurrences:
                    phrase_found = (f"»{part.phrase}«", "bold")
                    start_at = (f"{part.start:>14}  ", "dim")
                    say(start_at, f"{part.before} ", phrase_found, f" {part.after}", indent=INDENT + 1)
            say()


def print_chunks(
    question: str,
    chunks: Sequence[Chunk],
    reasons: Sequence[Sequence[Reason]] = (),
    *,
    language: Language = "english",
    note: str = "",
) -> None:
    """Print the hits of one question for people, each with its reasons; its words are those of a language."""
    say((question, "bold"))
    if note:
        say(note)
    for chunk in chunks:
        own = reasons[chunk.rank - 1] if reasons else ()
        title = f"{chunk.title}  " if chunk.title else ""
        figures = f"{chunk.rank:>3}  {chunk.score:>8.4f}  "
        say(figures, (title, "cyan"), (f"[{chunk.key}]", "dim"), indent=INDENT)
        if parts := list(snippet(chunk.text, question, own, language=language)):
            say(" " * INDENT, *parts, indent=INDENT)
        print_reasons(own)
    if not chunks:
        say("  no hits")
    say()


def print_reasons(reasons: Sequence[Reason]) -> None:
    """Print the evidence for one hit."""
    for reason in reasons:
        key = (f"»{shorten(reason.text)}«", "bold")
        say(f"     {reason.score:>8.4f}  ", key, (f"  {reason.kind}", "dim"), indent=INDENT)


def language_of(snapshot: Snapshot, index: str) -> Language:
    """Return the language by which an index, or one that it searches, takes words."""
    entry = snapshot.index(index)
    languages: list[Language] = [entry.settings.get("language", "english")]
    languages += [language_of(snapshot, name) for name in entry.made_of]
    return next((language for language in languages if language != "english"), "english")
