"""`eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    memory: Annotated[Path, typer.Argument(help="The memory's folder.")],
    index: Annotated[str, typer.Argument(help="The index's name.")],
    queries: Annotated[Path, typer.Option(help="JSONL of id, question, gold_ids; or BEIR queries.jsonl.")],
    qrels: Annotated[Path | None, typer.Option(help="Judgements: BEIR's TSV or TREC's.")] = None,
    k: Annotated[int, typer.Option("-k", help="Documents a query.")] = 10,
    run: Annotated[Path | None, typer.Option(help="Write a TREC run file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure an index: recall, nDCG and reciprocal rank over documents."""
    from mnemodex.retrievers.evaluation import evaluate as measure
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.queries import read_queries
    from mnemodex.schemas.errors import UserError

    if run is not None and (run.is_dir() or not run.parent.is_dir()):
        msg = f"{run}: cannot be written there; name a file in a folder that exists with --run"
        raise UserError(msg)
    asked = read_queries(queries, qrels=qrels)
    result = measure(Memory(memory).retriever(index), asked, k=k)
    if run is not None:
        run.write_text(result.run, encoding="utf-8")
    if as_json:
        print_json(result.to_json())
        return
    print_table(f"{index}: {result.queries} queries, k = {k}", ("measure", "value"), list(result.metrics.items()))
    if result.without_gold:
        typer.echo(f"{result.without_gold} queries without gold are left out", err=True)
    typer.echo(f"{result.seconds:.2f} s, {result.queries_per_second:.0f} queries/s")
