"""`search`."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.hits import Chunk, Hits, Reason
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.next_token import NextTokenRetriever
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
    explain: Annotated[bool, typer.Option("--explain", help="Print what spoke for each hit.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw what one question woke in a graph: FILE.svg, .html or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Search an index."""
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.next_token import NextTokenRetriever
    from mnemodex.retrievers.ngram import NgramIndex

    opened = Memory(memory)
    retriever = opened.retriever(index)
    if picture is not None:
        _draw(retriever, questions, picture)
    if isinstance(retriever, NgramIndex) and not as_json:
        print_concordances(retriever, opened, questions, k, where=where)
        return
    hits = retriever.search(questions, k, where=where)
    if isinstance(retriever, NextTokenRetriever):
        _print_next_tokens(retriever, opened, questions, hits, as_json=as_json)
        return
    answers = hits.chunks()
    reasons = hits.reasons() if explain else None
    if as_json:
        listed = [[chunk.to_json() for chunk in answer] for answer in answers]
        for hit, why in zip(chain(*listed), chain(*(reasons or ())), strict=False):
            hit["reasons"] = [reason.to_json() for reason in why]
        print_json({"index": index, "hits": listed})
        return
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        print_hits(question, answer, reasons[number] if reasons else ())


def _print_next_tokens(
    retriever: NextTokenRetriever, memory: Memory, prompts: Sequence[str], hits: Hits, *, as_json: bool
) -> None:
    from mnemodex.pipelines.commands.next_token_tables import print_continuations
    from mnemodex.retrievers.readers.knn_lm_report.explaining import explain

    found = explain(retriever, memory.snapshot, prompts, hits)
    if not as_json:
        print_continuations(prompts, found)
        return
    listed = [
        [{**chunk.to_json(), **context.to_json()} for chunk, context in zip(answer, one.contexts, strict=True)]
        for answer, one in zip(hits.chunks(), found, strict=True)
    ]
    print_json({"index": retriever.name, "hits": listed, "next": [one.likely() for one in found]})


def _draw(retriever: Retriever, questions: Sequence[str], path: Path) -> None:
    from mnemodex.retrievers.graph.picture import check_path, write_picture
    from mnemodex.retrievers.graph.retriever import GraphRetriever
    from mnemodex.schemas.errors import QueryError

    check_path(path)
    if not isinstance(retriever, GraphRetriever) or len(questions) != 1:
        msg = "--picture draws what one question wakes in a graph: give one question, and an index of type graph"
        raise QueryError(msg)
    write_picture(retriever.subgraph(questions[0]), path)
    typer.echo(f"{path} written", err=True)


def print_hits(question: str, chunks: Sequence[Chunk], reasons: Sequence[Sequence[Reason]] = ()) -> None:
    """One question's hits, for people, with what spoke for each."""
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
