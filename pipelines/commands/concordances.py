"""How `search` prints the hits of an n-gram index: every occurrence in its context."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from mnemodex.pipelines.commands.rendering import ChunkRenderer

if TYPE_CHECKING:
    from mnemodex.retrievers.ngram.index import NgramIndex


class ConcordanceRenderer(ChunkRenderer):
    """Prints the occurrences of phrases."""

    @override
    def print(self) -> None:
        from rich.console import Console
        from rich.text import Text

        from mnemodex.retrievers.ngram.concordance import concordances

        request = self.request
        index = cast("NgramIndex", request.memory.retriever(request.index))
        console = Console(soft_wrap=True)
        documents = index.documents(request.questions)
        answers = concordances(index, request.memory.snapshot, request.questions, request.k, where=request.where)
        spans = pairwise(documents.offsets.tolist())
        for phrase, answer, (start, stop) in zip(request.questions, answers, spans, strict=True):
            count = documents.counts[start:stop].sum()
            console.print(Text.assemble((phrase, "bold"), f"  occurrences: {count:,}  documents: {stop - start:,}"))
            for rank, hit in enumerate(answer, start=1):
                title = f"{hit.title}  " if hit.title else ""
                console.print(Text.assemble(f"{rank:>3}  {hit.count:>8}  ", (title, "cyan"), (f"[{hit.key}]", "dim")))
                for part in hit.occurrences:
                    phrase_found = (f"»{part.phrase}«", "bold")
                    start_at = (f"{part.start:>14}  ", "dim")
                    console.print(Text.assemble(start_at, f"{part.before} ", phrase_found, f" {part.after}"))
            console.print()
