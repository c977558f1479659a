"""`overlap`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.pipelines.commands.texts import MemoryArgument, SnapshotOption

if TYPE_CHECKING:
    from mnemodex.retrievers.ngram.overlap import Overlaps

_SHOWN = 60
"""Letters of a match in the table."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex overlap memories/python-manual ngrams --queries queries.jsonl -n 8")(overlap)


def overlap(
    memory: MemoryArgument,
    index: Annotated[str, typer.Argument(help="An index of type ngram.")],
    queries: Annotated[Path, typer.Option(help="The query file; its questions and answers are looked up.")],
    n: Annotated[int, typer.Option("-n", help="Tokens of an n-gram.", min=1)] = 13,
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the questions and answers of an evaluation whose n-grams are in the corpus."""
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.ngram.overlap import find_overlaps
    from mnemodex.retrievers.queries import find_beir, read_queries
    from mnemodex.schemas.errors import QueryError

    opened = Memory(memory, snapshot=snapshot)
    searched = opened.retriever(index)
    if not isinstance(searched, NgramIndex):
        names = ", ".join(name for name, entry in opened.snapshot.manifest.indexes.items() if entry.type == "ngram")
        kind = opened.snapshot.index(index).type
        raise QueryError(f"index {index!r} is of type {kind}; name one of type ngram; there are: {names or 'none'}")
    asked = read_queries(find_beir(queries)[0] if queries.is_dir() else queries)
    found = find_overlaps(searched, opened.snapshot, asked, n=n)
    if as_json:
        about = {"memory": memory, "snapshot": opened.snapshot.name, "index": index, "queries": len(asked)}
        print_json({**about, **asdict(found)})
        return
    _print(found)


def _print(found: Overlaps) -> None:
    columns = ("query", "text", "n-grams", "found", "longest", "in document", "longest match")
    rows = [(o.id, o.field, o.ngrams, o.found, o.longest, o.key, _cut(o.match)) for o in found.overlaps]
    if rows:
        print_table("", columns, rows)
        say()
    for field, count in found.asked.items():
        overlapping = [row for row in found.overlaps if row.field == field]
        short = found.short[field]
        left_out = f"; {short:,} of fewer than {found.n} tokens were not looked up" if short else ""
        say(f"{len(overlapping):,} of {count:,} {field}s share {found.n} tokens with the corpus{left_out}")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
