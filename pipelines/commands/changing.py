"""`add`, `update`, `delete` and `compact`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import counted, on_terminal, print_json, say
from mnemodex.pipelines.commands.texts import MemoryArgument, TextCommand

if TYPE_CHECKING:
    from mnemodex.pipelines.changes.base import Work
    from mnemodex.pipelines.changes.change import Change, Changed

_AddressOption = Annotated[
    str | None, typer.Option("--address", help="A Ray cluster's address; a local one of its own by default.")
]
_LocalOption = Annotated[bool, typer.Option("--local", help="Compute in this process, without Ray.")]
_JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mnemodex add memories/python-manual notes.jsonl")(add)
    app.command(epilog="Example: mnemodex update memories/python-manual corrections.jsonl")(update)
    app.command(cls=TextCommand, epilog="Example: mnemodex delete memories/python-manual topic:await")(delete)
    app.command(epilog="Example: mnemodex compact memories/python-manual")(compact)


def add(
    memory: MemoryArgument,
    source: Annotated[str, typer.Argument(help="A file or folder of documents, or its URL in an object store.")],
    address: _AddressOption = None,
    local: _LocalOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Add documents to a memory and all of its indexes."""
    from mnemodex.pipelines.changes.change import Add

    _change(memory, Add(source), "added", address=address, local=local, as_json=as_json)


def update(
    memory: MemoryArgument,
    source: Annotated[str, typer.Argument(help="A file, a folder or its URL, of documents that the memory has.")],
    address: _AddressOption = None,
    local: _LocalOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Give documents of a memory another content."""
    from mnemodex.pipelines.changes.change import Add

    _change(memory, Add(source, update=True), "updated", address=address, local=local, as_json=as_json)


def delete(
    memory: MemoryArgument,
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of documents.", metavar="[KEY...]")] = None,
    where: Annotated[
        str | None, typer.Option(help="A boolean SQL expression over documents d, instead of keys.")
    ] = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Leave them in no file: older snapshots and kept answers are removed too.")
    ] = False,
    address: _AddressOption = None,
    local: _LocalOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Delete documents from a memory and all of its indexes; later builds over the same source leave them out."""
    from mnemodex.pipelines.changes.change import Delete
    from mnemodex.pipelines.changes.purge import purge as run

    what = Delete(keys or None, where)
    if not purge:
        _change(memory, what, "deleted", address=address, local=local, as_json=as_json)
        return
    started = time.perf_counter()
    _report(memory, run(memory, what, _work(address, local=local)), "purged", started, as_json=as_json)


def compact(
    memory: MemoryArgument,
    address: _AddressOption = None,
    local: _LocalOption = False,
    as_json: _JsonOption = False,
) -> None:
    """Write what many changes have left in as few shards as a new build has; answers stay as they are."""
    from mnemodex.pipelines.changes.compact import compact as run

    result = run(memory, _work(address, local=local))
    if as_json:
        print_json(result.to_json())
        return
    for warning in result.warnings:
        say(f"warning: {warning}", err=True)
    state = f"snapshot {result.snapshot} committed" if result.committed else "nothing to do"
    say(f"{memory}: {state}")


def _work(address: str | None, *, local: bool) -> Work:
    from mnemodex.pipelines.changes.base import Work
    from mnemodex.pipelines.engine import Place
    from mnemodex.pipelines.progress import Progress

    return Work(Place(address, local), progress=Progress(bars=on_terminal()))


def _change(memory: str, what: Change, done: str, *, address: str | None, local: bool, as_json: bool) -> None:
    from mnemodex.pipelines.changes.change import change

    started = time.perf_counter()
    _report(memory, change(memory, what, _work(address, local=local)), done, started, as_json=as_json)


def _report(memory: str, changed: Changed, done: str, started: float, *, as_json: bool) -> None:
    result = changed.build
    if as_json:
        built = {"snapshot": result.snapshot, "committed": result.committed} if result is not None else {}
        seconds = time.perf_counter() - started
        report = {"memory": str(memory), "documents": changed.documents, "snapshot": None, "committed": False, **built}
        print_json({**report, "seconds": seconds, "warnings": changed.warnings})
        return
    for warning in changed.warnings:
        say(f"warning: {warning}", err=True)
    state = f"snapshot {result.snapshot} committed" if result is not None else "nothing to change"
    say(f"{memory}: {counted(changed.documents, 'document')} {done}; {state}")
