"""`gc` and `diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mnemodex.pipelines.commands.output import counted, print_json, say, size

_MemoryArgument = Annotated[Path, typer.Argument(help="The memory's folder.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mnemodex gc memories/python-manual --keep 3 --older-than 7d")(gc)


def gc(
    memory: _MemoryArgument,
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
