"""`search`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Chunk
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram import NgramIndex

_SNIPPET = 160


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(search)


def search(
    memory: Annotated[Path, typer.Argument(help="The memory's folder.")],
    index: Annotated[str, typer.Argument(help="The index's name.")],
    questions: Annotated[list[str], typer.Argument(help="One or more questions.", metavar="QUESTION...")],
    k: Annotated[int, typer.Option("-k", help="Hits a question.")] = 10,
    where: Annotated[str | None, typer.Option(help="A boolean SQL expression over chunks c and documents d.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search an index."""
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram import NgramIndex

    opened = Memory(memory)
    retriever = opened.retriever(index)
    if isinstance(retriever, NgramIndex) and not as_json:
        print_concordances(retriever, opened, questions, k, where=where)
        return
    answers = retriever.search(questions, k, where=where).chunks()
    if as_json:
        print_json({"index": index, "hits": [[chunk.to_json() for chunk in answer] for answer in answers]})
        return
    for question, answer in zip(questions, answers, strict=True):
        print_hits(question, answer)


def print_hits(question: str, chunks: Sequence[Chunk]) -> None:
    """One question's hits, for people."""
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
    if not chunks:
        console.print("  no hits")
    console.print()


def print_concordances(
    index: NgramIndex, memory: Memory, phrases: Sequence[str], k: int, *, where: str | None = None
) -> None:
    """The occurrences of phrases in their context, for people."""
    from rich.console import Console
    from rich.text import Text

    from mnemodex.retrievers.concordance import concordances

    console = Console(soft_wrap=True)
    documents = index.documents(phrases)
    answers = concordances(index, memory.snapshot, phrases, k, where=where)
    for phrase, answer, (start, stop) in zip(phrases, answers, pairwise(documents.offsets.tolist()), strict=True):
        count = documents.counts[start:stop].sum()
        console.print(Text.assemble((phrase, "bold"), f"  occurrences: {count:,}  documents: {stop - start:,}"))
        for rank, found in enumerate(answer, start=1):
            title = f"{found.title}  " if found.title else ""
            console.print(Text.assemble(f"{rank:>3}  {found.count:>8}  ", (title, "cyan"), (f"[{found.key}]", "dim")))
            for one in found.occurrences:
                console.print(
                    Text.assemble(
                        (f"{one.start:>14}  ", "dim"), f"{one.before} ", (f"»{one.phrase}«", "bold"), f" {one.after}"
                    )
                )
        console.print()
