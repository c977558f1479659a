"""`gc` and `diff`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from mnemodex.pipelines.commands.output import counted, print_json, print_table, say, size
from mnemodex.pipelines.commands.texts import MemoryArgument

_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mnemodex gc memories/python-manual --keep 3 --older-than 7d")(gc)
    app.command(epilog="Example: mnemodex diff memories/python-manual 1 2")(diff)


def gc(
    memory: MemoryArgument,
    keep: Annotated[int | None, typer.Option(help="Keep so many of the newest snapshots.", min=1)] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove only snapshots that are older: 7d, 12h, 30m.", metavar="AGE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: _JsonOption = False,
) -> None:
    """Remove snapshots that are not kept and files that no snapshot names.

    Without --keep and --older-than all snapshots are kept. One that a reader has open stays.
    """
    from mnemodex.pipelines.changes.collect import Kept, collect

    result = collect(memory, Kept.of(keep, older_than), dry_run=dry_run)
    if as_json:
        print_json({"memory": str(memory), "dry_run": dry_run, **asdict(result)})
        return
    if result.pinned:
        say(f"warning: kept because readers have them open: {', '.join(result.pinned)}", err=True)
    done = "would be removed" if dry_run else "removed"
    removed = f"{counted(len(result.snapshots), 'snapshot')} and {counted(result.files, 'file')}"
    say(f"{memory}: {removed} ({size(result.bytes)}) {done}; {counted(result.kept, 'snapshot')} kept")


def diff(
    memory: MemoryArgument,
    before: Annotated[str, typer.Argument(help="A snapshot's number.", metavar="N")],
    after: Annotated[str, typer.Argument(help="Another one's.", metavar="M")],
    most: Annotated[int, typer.Option("-n", help="Keys that are shown of each kind of change.", min=0)] = 10,
    as_json: _JsonOption = False,
) -> None:
    """Show what is different between two snapshots: documents, rows of tables and indexes, settings of the recipe."""
    from mnemodex.pipelines.changes.difference import compare
    from mnemodex.retrievers.snapshot import Snapshot

    one, two = (Snapshot.open(memory, snapshot=number) for number in (before, after))
    found = compare(one, two)
    documents = asdict(found.documents)
    if as_json:
        shown = {name: {"count": len(keys), "keys": keys[:most]} for name, keys in documents.items()}
        rows = {
            name: {key: dict(zip(_BETWEEN, pair, strict=True)) for key, pair in getattr(found, name).items()}
            for name in ("tables", "indexes", "recipe")
        }
        print_json({"memory": str(memory), "from": one.name, "to": two.name, "documents": shown, **rows})
        return
    for name, keys in documents.items():
        more = ", …" if len(keys) > most else ""
        listed = f": {', '.join(keys[:most])}{more}" if keys and most else ""
        say(f"{counted(len(keys), 'document')} {name}{listed}")
    for title, name in (("Rows of tables", "tables"), ("Rows of indexes", "indexes"), ("Settings", "recipe")):
        pairs = [(key, *map(_shown, pair)) for key, pair in getattr(found, name).items()]
        if pairs:
            say()
            print_table(title, ("name", one.name, two.name), pairs)


_BETWEEN = ("before", "after")


def _shown(value: Any) -> Any:
    """Return a number, or another value as the JSON that a recipe may have."""
    return "-" if value is None else value if isinstance(value, int | str) else json.dumps(value, ensure_ascii=False)
