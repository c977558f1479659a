"""`eval` and `compare`: the commands, and the measures of indexes whose hits are chunks."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.pipelines.commands.texts import MemoryArgument, SnapshotOption
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.retrievers.abstention import AbstentionMeasures
    from mnemodex.retrievers.evaluation import Evaluation, Measures
    from mnemodex.retrievers.memory import Memory

_QUERIES = "JSONL of id, question, gold_ids or answers, where, kind; BEIR's queries.jsonl; or a BEIR folder."
_QRELS = "Judgements: BEIR's TSV or TREC's."
_EXCLUDE = "A query's own document (of its id) is no answer to it, as BEIR measures ArguAna and Quora."
_GROUPS = "Rank the values of a field of metadata, such as session, in the place of documents."
_NEXT: dict[str, Any] = {"rich_help_panel": "Next-token indexes"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("eval", epilog="Example: mnemodex eval memories/python-manual both --queries queries.jsonl")(evaluate)
    app.command(epilog="Example: mnemodex compare memories/python-manual words both --queries queries.jsonl")(compare)


def evaluate(
    memory: MemoryArgument,
    index: Annotated[str, typer.Argument(help="The index's name.")],
    queries: Annotated[Path | None, typer.Option(help=_QUERIES)] = None,
    qrels: Annotated[Path | None, typer.Option(help=_QRELS)] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help=_EXCLUDE)] = False,
    group_by: Annotated[str | None, typer.Option(help=_GROUPS)] = None,
    k: Annotated[
        int | None,
        typer.Option("-k", help="Documents a query, 10; pairs, 50; or neighbours a token, 64.", show_default=False),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Write a TREC run file.")] = None,
    per_query: Annotated[Path | None, typer.Option(help="Write JSONL of the measures of each query.")] = None,
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
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure an index: recall over documents, answers of pairs, or perplexity of a next-token index."""
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.kinds import KINDS

    ranking = {
        "queries": queries,
        "qrels": qrels,
        "run": run,
        "per_query": per_query,
        "exclude_self": exclude_self or None,
        "group_by": group_by,
    }
    mixing = {"weight": weight, "temperature": temperature, "gate": gate, "rescore": rescore, "pointers": pointers}
    predicting = {"text": text, "settings": settings, "tune": tune or None, "save": save, "generate": generate}
    given = {name: value for name, value in (ranking | mixing | predicting | {"k": k}).items() if value is not None}
    opened = Memory(memory, snapshot=snapshot)
    evaluator = _evaluator(opened, index)
    _check_options(opened, index, evaluator, given)
    with KINDS.calling(opened.snapshot.index(index).type):
        evaluator(opened, index, given).print(as_json=as_json)


def compare(
    memory: MemoryArgument,
    first: Annotated[str, typer.Argument(help="An index's name.")],
    second: Annotated[str, typer.Argument(help="Another one's.")],
    queries: Annotated[Path, typer.Option(help=_QUERIES)],
    qrels: Annotated[Path | None, typer.Option(help=_QRELS)] = None,
    exclude_self: Annotated[bool, typer.Option("--exclude-self", help=_EXCLUDE)] = False,
    k: Annotated[int | None, typer.Option("-k", help="Documents a query, 10; or pairs, 50.")] = None,
    snapshot: SnapshotOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two indexes by the same queries: differences, their confidence intervals, a paired randomisation test."""
    from mnemodex.retrievers.comparison import compare as run
    from mnemodex.retrievers.memory import Memory

    opened = Memory(memory, snapshot=snapshot)
    options = {"queries": queries, "qrels": qrels, "exclude_self": exclude_self or None, "k": k}
    given = {name: value for name, value in options.items() if value is not None}
    classes = [_evaluator(opened, index) for index in (first, second)]
    for index, evaluator in zip((first, second), classes, strict=True):
        if not hasattr(evaluator, "measure") or evaluator.measured_with != classes[0].measured_with:
            raise UserError(
                f"index {index!r} is measured with {evaluator.measured_with}; compare two indexes over documents, or "
                "two of pairs"
            )
        _check_options(opened, index, evaluator, given)
    # Queries without an answer are compared by nothing.
    given["abstention"] = False
    evaluators = [evaluator(opened, index, given) for index, evaluator in zip((first, second), classes, strict=True)]
    evaluations = [evaluator.measure() for evaluator in evaluators]
    evaluators[0].say_left_out(evaluations[0])
    result = run(*evaluations)
    if as_json:
        print_json(result.to_json())
        return
    columns = ("measure", first, second, "difference", "95 % from", "to", "p", "better", "worse")
    rows = [(name, *astuple(one)) for name, one in result.metrics.items()]
    print_table(f"{second} against {first}: {result.queries} queries, k = {result.k}", columns, rows)


def _evaluator(memory: Memory, index: str) -> Any:
    """Return the class that measures an index."""
    from mnemodex.schemas.kinds import load

    return load(memory.kind(index).evaluator)


def _check_options(memory: Memory, index: str, evaluator: Any, given: Mapping[str, Any]) -> None:
    """Refuse options that do not measure an index, by a `UserError`."""
    required = f"--{evaluator.required} FILE"
    for name in given:
        if name not in evaluator.options:
            type_, option = memory.snapshot.index(index).type, name.replace("_", "-")
            raise UserError(f"index {index!r} is of type {type_}: --{option} is not for it; measure it with {required}")
    if evaluator.required not in given:
        raise UserError(f"index {index!r} is measured with {evaluator.measured_with}: give {required}")


def print_measures(result: Measures, **others: float | None) -> None:
    """Print the metrics of an index, and those of each kind of queries."""
    title = f"{result.index}: {result.queries} queries, k = {result.k}"
    print_table(title, ("measure", "value"), [*result.metrics.items(), *others.items()])
    if result.by_kind:
        rows = [(kind, *metrics.values()) for kind, metrics in result.by_kind.items()]
        print_table("by kind", ("kind", *result.metrics), rows)


def _abstention_rows(measured: AbstentionMeasures | None) -> dict[str, float | None]:
    """Return the rows of abstention by their names; none where it is not measured."""
    if measured is None:
        return {}
    return {
        "abstention AUROC": measured.auroc,
        "AUROC 95 % from": measured.low,
        "AUROC 95 % to": measured.high,
        "risk-coverage area": measured.area,
        "risk, all answered": measured.risk,
    }


def check_writable(options: dict[str, Any], *names: str) -> None:
    """Refuse, before anything is measured, options that name a file which cannot be written, by a `UserError`."""
    for option in names:
        path: Path | None = options.get(option)
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            name = option.replace("_", "-")
            raise UserError(f"{path}: cannot be written there; name a file in a folder that exists with --{name}")


def write_per_query(options: dict[str, Any], measures: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the measures of each query, by its id, if the options name a file for them."""
    if "per_query" in options:
        lines = [json.dumps({"id": name, **values}) + "\n" for name, values in measures.items()]
        options["per_query"].write_text("".join(lines), encoding="utf-8")


class QueryEvaluator:
    """Measures an index over documents, by queries with judgements."""

    options: ClassVar = frozenset({"queries", "qrels", "run", "k", "exclude_self", "per_query", "group_by"})
    required: ClassVar = "queries"
    measured_with: ClassVar = "questions"

    def __init__(self, memory: Memory, index: str, options: dict[str, Any]) -> None:
        self._memory = memory
        self._index = index
        self._options = options

    def measure(self) -> Evaluation:
        """Return the measures; say on stderr which queries find their own document.

        Raises:
            UserError: the queries or judgements cannot be read, or no gold document is in the memory.
        """
        from mnemodex.retrievers.evaluation import evaluate as measure
        from mnemodex.retrievers.grouping import groups_of
        from mnemodex.retrievers.judgements import find_unknown_gold
        from mnemodex.retrievers.queries import find_beir, read_queries

        path, qrels = self._options["queries"], self._options.get("qrels")
        if path.is_dir():
            path, found = find_beir(path)
            qrels = qrels or found
        queries = read_queries(path, qrels=qrels)
        exclude_self = self._options.get("exclude_self", False)
        self.unknown_gold = find_unknown_gold(self._memory, queries)
        by = self._options.get("group_by")
        result = measure(
            self._memory.retriever(self._index),
            queries,
            k=self._options.get("k", 10),
            exclude_self=exclude_self,
            groups=None if by is None else groups_of(self._memory, by),
            abstention=self._options.get("abstention", True),
        )
        if exclude_self:
            say(f"{self._index}: {result.own_document} queries found their own document, which is left out", err=True)
        elif 2 * result.own_first > result.queries:
            own = f"{self._index}: {result.own_first} queries rank their own document first"
            say(f"warning: {own}; see --exclude-self", err=True)
        return result

    def say_left_out(self, result: Evaluation) -> None:
        """Say on stderr what of the judgements is left out, which is the same for every index."""
        if result.queries_without_gold:
            say(f"{result.queries_without_gold} queries without gold are left out of the measures of rank", err=True)
        if self.unknown_gold.count:
            say(f"warning: {self.unknown_gold}; they count as not found", err=True)

    def _say_abstention(self, result: Evaluation) -> None:
        """Say on stderr whether abstention is measured, and with how many queries."""
        measured = result.abstention
        if measured is None:
            say(
                'abstention is not measured: no query has "answerable": false, or gold_ids: [] and no answers', err=True
            )
        else:
            say(f"abstention is measured with {measured.unanswerable} unanswerable queries as well", err=True)

    def print(self, *, as_json: bool) -> None:
        """Print the measures, and write the run file and the measures of each query.

        Raises:
            UserError: as `measure`, or a file cannot be written.
        """
        check_writable(self._options, "run", "per_query")
        result = self.measure()
        self.say_left_out(result)
        self._say_abstention(result)
        if "run" in self._options:
            self._options["run"].write_text(result.run, encoding="utf-8", errors="backslashreplace")
        write_per_query(self._options, result.per_query)
        if as_json:
            print_json(result.to_json() | {"unknown_gold": self.unknown_gold.to_json()})
            return
        print_measures(result, **_abstention_rows(result.abstention))
        say(f"{result.seconds:.2f} s, {result.queries_per_second:.0f} queries/s")
