"""`eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnemodex.pipelines.commands.output import print_json, print_table
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from mnemodex.retrievers.memory import Memory

_NEXT: dict[str, Any] = {"rich_help_panel": "Next-token indexes"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    memory: Annotated[Path, typer.Argument(help="The memory's folder.")],
    index: Annotated[str, typer.Argument(help="The index's name.")],
    queries: Annotated[
        Path | None, typer.Option(help="JSONL of id, question, gold_ids; or BEIR queries.jsonl.")
    ] = None,
    qrels: Annotated[Path | None, typer.Option(help="Judgements: BEIR's TSV or TREC's.")] = None,
    k: Annotated[
        int | None, typer.Option("-k", help="Documents a query, 10; or neighbours a token, 64.", show_default=False)
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Write a TREC run file.")] = None,
    text: Annotated[
        Path | None, typer.Option(help="For a next-token index: a file or folder of texts to predict.", **_NEXT)
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Of the neighbours (lambda), 0 to 1.", **_NEXT)] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of the softmax over distances; by default their scale.", **_NEXT)
    ] = None,
    gate: Annotated[
        float | None, typer.Option(help="Look up only where the model's entropy is so many nats or more.", **_NEXT)
    ] = None,
    rescore: Annotated[
        bool | None, typer.Option("--rescore", help="Take exact distances of the neighbours.", **_NEXT)
    ] = None,
    pointers: Annotated[
        int | None, typer.Option(help="Search only where fewer neighbours follow from the last ones.", **_NEXT)
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="Read those settings from a file.", **_NEXT)] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Fit temperature and weights on half of the text.", **_NEXT)
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write the fitted settings, for --settings.", **_NEXT)] = None,
    generate: Annotated[
        int | None, typer.Option(help="Let the model go on so many tokens, with the memory and without.", **_NEXT)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure an index: recall, nDCG and reciprocal rank over documents; or perplexity of a next-token index."""
    from mnemodex.pipelines.commands.next_token import TextOptions, evaluate_text
    from mnemodex.retrievers.memory import Memory

    opened = Memory(memory)
    mixing = {"weight": weight, "temperature": temperature, "gate": gate, "rescore": rescore, "pointers": pointers}
    options = TextOptions({"k": k, **mixing}, settings, tune=tune, save=save, generate=generate, as_json=as_json)
    if opened.snapshot.index(index).type == "knn_lm":
        _refuse(index, "knn_lm", "--text FILE", {"--queries": queries, "--qrels": qrels, "--run": run})
        evaluate_text(opened, index, text, options)
        return
    others = {"--text": text, **{f"--{name}": value for name, value in mixing.items()}}
    more = {"--settings": settings, "--tune": tune or None, "--save": save, "--generate": generate}
    _refuse(index, opened.snapshot.index(index).type, "--queries FILE", {**others, **more})
    if queries is None:
        msg = f"index {index!r} is measured with questions: give --queries FILE"
        raise UserError(msg)
    _evaluate_queries(opened, index, queries, qrels=qrels, k=10 if k is None else k, run=run, as_json=as_json)


def _refuse(index: str, kind: str, takes: str, options: dict[str, object]) -> None:
    """Refuse options that are not for this kind of index."""
    for name, value in options.items():
        if value is not None:
            msg = f"index {index!r} is of type {kind}: {name} is not for it; measure it with {takes}"
            raise UserError(msg)


def _evaluate_queries(
    memory: Memory, index: str, queries: Path, *, qrels: Path | None, k: int, run: Path | None, as_json: bool
) -> None:
    from mnemodex.retrievers.evaluation import evaluate as measure
    from mnemodex.retrievers.queries import read_queries

    if run is not None and (run.is_dir() or not run.parent.is_dir()):
        msg = f"{run}: cannot be written there; name a file in a folder that exists with --run"
        raise UserError(msg)
    asked = read_queries(queries, qrels=qrels)
    result = measure(memory.retriever(index), asked, k=k)
    if run is not None:
        run.write_text(result.run, encoding="utf-8")
    if as_json:
        print_json(result.to_json())
        return
    print_table(f"{index}: {result.queries} queries, k = {k}", ("measure", "value"), list(result.metrics.items()))
    if result.without_gold:
        typer.echo(f"{result.without_gold} queries without gold are left out", err=True)
    typer.echo(f"{result.seconds:.2f} s, {result.queries_per_second:.0f} queries/s")
