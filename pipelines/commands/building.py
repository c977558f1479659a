"""`init` and `build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnemodex.pipelines.commands.output import on_terminal, print_json, print_table, program, say, size

if TYPE_CHECKING:
    from mnemodex.pipelines.outcome import BuildResult


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: mnemodex init memories/python-manual-source --output manual.yaml")(init)
    app.command(epilog="Example: mnemodex build recipe.yaml --dry-run")(build)


def init(
    source: Annotated[str, typer.Argument(help="A file or folder of documents, a pattern in quotes, or its URL.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the recipe.")] = Path("recipe.yaml"),
    fields: Annotated[
        list[str] | None,
        typer.Option("--fields", help="Fields of JSON rows: text=content, title=meta.name, key=$row to number them."),
    ] = None,
) -> None:
    """Write a commented recipe for a source; fields of JSON lines that are not given are guessed, and said."""
    from mnemodex.pipelines.initial import write_recipe
    from mnemodex.schemas.errors import RecipeError

    given = [each.partition("=") for each in ",".join(fields or ()).split(",") if each]
    for ours, _, theirs in given:
        if not theirs:
            raise RecipeError(f"--fields {ours}: says no field; write it as --fields text=FIELD")
    for line in write_recipe(source, output, fields={ours.strip(): theirs.strip() for ours, _, theirs in given}):
        say(line, err=True)
    say(f"{output} written; next: {program()} build {output}", err=True)


def build(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    memory: Annotated[str | None, typer.Option(help="Where to build, instead of the recipe's own place.")] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; a local one of its own by default.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Compute in this process, without Ray.")] = False,
    runtime_env: Annotated[
        Path | None, typer.Option(help="A YAML or JSON file: Ray's runtime environment of the workers.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be computed, and stop.")] = False,
    forget_deletions: Annotated[
        bool, typer.Option("--forget-deletions", help="Bring back deleted documents that the source has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Build a memory, or bring it up to date with its recipe and source.

    Without --local or --address, a build that computes little stays in this process, and a larger one starts Ray.
    """
    from mnemodex.pipelines.build import build as run
    from mnemodex.pipelines.progress import Progress

    result = run(
        recipe,
        memory=memory,
        address=address,
        local=local,
        runtime_env=runtime_env,
        dry_run=dry_run,
        forget_deletions=forget_deletions,
        progress=Progress(bars=on_terminal() and not dry_run),
    )
    if as_json:
        print_json(result.to_json())
    elif dry_run:
        print_plan(result)
    else:
        report(result)


def print_plan(result: BuildResult) -> None:
    """Print what a build would do: for each step what is there, and what would be computed."""
    rows = [
        (step.name, step.partitions, step.partitions - step.computed, step.computed, step.rows, step.note)
        for step in result.steps
    ]
    print_table("Plan", ("step", "units", "there", "to compute", "rows there", ""), rows)
    todo = sum(step.computed for step in result.steps)
    state = f"about {todo} units to compute" if todo else "up to date: nothing to compute"
    say(f"{result.memory}: {state}")


_RECALLS = ("index", "measure", "value", "95 % interval", "probes", "probed with")


def report(result: BuildResult) -> None:
    """Print the closing table of a build."""
    from mnemodex.retrievers.snapshot import Snapshot

    rows = [
        (
            step.name,
            step.partitions,
            step.computed,
            step.rows,
            size(step.bytes),
            round(step.seconds, 2),
            f"{step.rate:,.0f} rows/s" if step.rate else "-",
        )
        for step in result.steps
        if step.computed or not step.cache
    ]
    print_table("Steps", ("step", "partitions", "computed", "rows", "size", "seconds", "rate"), rows)
    recalls = [
        (index.name, f"recall@{recall.k}", recall.recall, recall.interval, recall.probes, recall.source)
        for index in Snapshot.open(result.memory).manifest.indexes.values()
        if (recall := index.recall)
    ]
    if recalls:
        say()
        print_table("Recall against exact search", _RECALLS, recalls)
    for step in result.steps:
        if step.note:
            say(f"{step.name}: {step.note}")
    say()
    for warning in result.warnings:
        say(f"warning: {warning}", err=True)
    state = "committed" if result.committed else "was up to date: nothing computed"
    start = f" (computed by {result.engine}, started in {result.start_seconds:.1f} s)" if result.start_seconds else ""
    say(f"{result.memory}: snapshot {result.snapshot} {state}{start}")
