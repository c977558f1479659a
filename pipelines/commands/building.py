"""`init`, `build` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import on_terminal, print_json, print_table, size

if TYPE_CHECKING:
    from mnemodex.pipelines.build import BuildResult


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(build)
    app.command()(demo)


def init(
    source: Annotated[Path, typer.Argument(help="A file or folder of documents.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the recipe.")] = Path("recipe.yaml"),
) -> None:
    """Write a commented recipe for a source."""
    from mnemodex.pipelines.initial import write_recipe

    write_recipe(source, output)
    typer.echo(f"{output} written; next: mnemodex build {output}", err=True)


def build(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    memory: Annotated[Path | None, typer.Option(help="Where to build, instead of the recipe's own place.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; a local one of its own by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build a memory, or bring it up to date with its recipe and source."""
    from mnemodex.pipelines.build import build as run
    from mnemodex.pipelines.progress import Progress

    result = run(recipe, memory=memory, address=address, progress=Progress(bars=on_terminal()))
    if as_json:
        print_json(to_json(result))
    else:
        report(result)


def demo(
    full: Annotated[bool, typer.Option("--full", help="The whole manual, not only a part of it.")] = False,
    lm: Annotated[
        bool, typer.Option("--lm", help="A next-token memory with SmolLM2 too, which takes some minutes on a CPU.")
    ] = False,
    memory: Annotated[Path, typer.Option(help="Where to build it.")] = Path("memories/python-manual"),
) -> None:
    """Build the memory of the Python manual and ask it a few questions."""
    from mnemodex.pipelines.demo import run

    run(memory, full=full, lm=lm)


def report(result: BuildResult) -> None:
    """The closing table of a build."""
    from mnemodex.retrievers.snapshot import Snapshot

    rows = [
        (
            s.name,
            s.partitions,
            s.computed,
            s.rows,
            size(s.bytes),
            round(s.seconds, 2),
            f"{s.rate:,.0f} rows/s" if s.rate else "-",
        )
        for s in result.stages
    ]
    print_table("Stages", ("stage", "partitions", "computed", "rows", "size", "seconds", "rate"), rows)
    recalls = [
        (
            index.name,
            f"recall@{index.recall['k']}",
            index.recall["recall"],
            index.recall["probes"],
            index.recall["source"],
        )
        for index in Snapshot.open(result.memory).manifest.indexes.values()
        if index.recall
    ]
    if recalls:
        typer.echo("")
        print_table("Recall against exact search", ("index", "measure", "value", "probes", "probed with"), recalls)
    for stage in result.stages:
        if stage.note:
            typer.echo(f"{stage.name}: {stage.note}")
    typer.echo("")
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    state = "committed" if result.committed else "was up to date: nothing computed"
    start = f" (Ray started in {result.start_seconds:.1f} s)" if result.start_seconds else ""
    typer.echo(f"{result.memory}: snapshot {result.snapshot} {state}{start}")


def to_json(result: BuildResult) -> dict[str, object]:
    """A build's result for programs."""
    return {
        "memory": str(result.memory),
        "snapshot": result.snapshot,
        "committed": result.committed,
        "start_seconds": result.start_seconds,
        "stages": [
            {
                "name": s.name,
                "partitions": s.partitions,
                "computed": s.computed,
                "rows": s.rows,
                "bytes": s.bytes,
                "seconds": s.seconds,
                **({"note": s.note} if s.note else {}),
            }
            for s in result.stages
        ],
        "warnings": result.warnings,
    }
