"""`export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, say
from mnemodex.pipelines.commands.texts import MemoryArgument, SnapshotOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: mnemodex export memories/python-manual manual.duckdb")(export)


def export(
    memory: MemoryArgument,
    database: Annotated[
        Path | None, typer.Argument(help="A DuckDB database with the tables and the catalogue.", metavar="FILE.duckdb")
    ] = None,
    hf: Annotated[
        Path | None,
        typer.Option("--hf", help="A folder for datasets.load_from_disk.", metavar="FOLDER"),
    ] = None,
    hipporag: Annotated[
        Path | None,
        typer.Option("--hipporag", help="HippoRAG's corpus, and FILE.openie.json of triples.", metavar="FILE.json"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a snapshot in the form of other programs, without documents that were deleted."""
    from mnemodex.pipelines.exports.database import write_database
    from mnemodex.pipelines.exports.hipporag import extractions_path, write_corpus
    from mnemodex.pipelines.exports.hugging_face import write_datasets
    from mnemodex.pipelines.exports.target import check_different, check_target
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.errors import ExportError

    given = ((database, write_database), (hf, write_datasets), (hipporag, write_corpus))
    targets = [(path, write) for path, write in given if path is not None]
    if not targets:
        raise ExportError("export: nothing to write; name FILE.duckdb, --hf FOLDER or --hipporag FILE.json")
    opened = Snapshot.open(memory, snapshot=snapshot)
    for path, write in targets:
        check_target(path, memory, force=force, folder=write is write_datasets)
    if hipporag is not None:
        check_target(extractions_path(hipporag), memory, force=force)
    check_different([path for path, _ in targets] + ([extractions_path(hipporag)] if hipporag is not None else []))
    written = []
    for path, write in targets:
        rows = write(opened, path)
        written.append({"path": str(path), "rows": rows})
        if not as_json:
            total = ", ".join(f"{count:,} {name}" for name, count in rows.items())
            say(f"{path}: snapshot {opened.name}: {total}")
    if as_json:
        print_json({"memory": memory, "snapshot": opened.name, "written": written})
