"""`eval`: the command, and the measures of indexes whose hits are chunks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from mnemodex.retrievers.memory import Memory

_NEXT: dict[str, Any] = {"rich_help_panel": "Next-token indexes"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval", epilog="Example: mnemodex eval memories/python-manual both --queries queries.jsonl")(evaluate)


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
    text: Annotated[Path | None, typer.Option(help="A file or folder of texts to predict.", **_NEXT)] = None,
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
        int | None, typer.Option(help="Generate so many tokens, with the memory and without.", **_NEXT)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure an index: recall, nDCG and reciprocal rank over documents; or perplexity of a next-token index."""
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.kinds import KINDS, load

    ranking = {"queries": queries, "qrels": qrels, "run": run}
    mixing = {"weight": weight, "temperature": temperature, "gate": gate, "rescore": rescore, "pointers": pointers}
    predicting = {"text": text, "settings": settings, "tune": tune or None, "save": save, "generate": generate}
    given = {name: value for name, value in (ranking | mixing | predicting | {"k": k}).items() if value is not None}
    opened = Memory(memory)
    type_ = opened.snapshot.index(index).type
    evaluator = load(opened.kind(index).evaluator)
    required = f"--{evaluator.required} FILE"
    for name in given:
        if name not in evaluator.options:
            raise UserError(f"index {index!r} is of type {type_}: --{name} is not for it; measure it with {required}")
    if evaluator.required not in given:
        raise UserError(f"index {index!r} is measured with {evaluator.measured_with}: give {required}")
    with KINDS.calling(type_):
        evaluator(opened, index, given).print(as_json=as_json)


class QueryEvaluator:
    """Measures an index over documents, by queries with judgements."""

    options: ClassVar = frozenset({"queries", "qrels", "run", "k"})
    required: ClassVar = "queries"
    measured_with: ClassVar = "questions"

    def __init__(self, memory: Memory, index: str, options: dict[str, Any]) -> None:
        self._memory = memory
        self._index = index
        self._options = options

    def print(self, *, as_json: bool) -> None:
        """Print the measures, and write the run file.

        Raises:
            UserError: the queries or judgements cannot be read, or the run file cannot be written.
        """
        from mnemodex.retrievers.evaluation import evaluate as measure
        from mnemodex.retrievers.queries import read_queries

        run: Path | None = self._options.get("run")
        if run is not None and (run.is_dir() or not run.parent.is_dir()):
            raise UserError(f"{run}: cannot be written there; name a file in a folder that exists with --run")
        k = self._options.get("k", 10)
        queries = read_queries(self._options["queries"], qrels=self._options.get("qrels"))
        result = measure(self._memory.retriever(self._index), queries, k=k)
        if run is not None:
            run.write_text(result.run, encoding="utf-8")
        if as_json:
            print_json(result.to_json())
            return
        title = f"{self._index}: {result.queries} queries, k = {k}"
        print_table(title, ("measure", "value"), list(result.metrics.items()))
        if result.queries_without_gold:
            say(f"{result.queries_without_gold} queries without gold are left out", err=True)
        say(f"{result.seconds:.2f} s, {result.queries_per_second:.0f} queries/s")
