"""How `search` and `eval` show question-answer pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from mnemodex.pipelines.commands.evaluation import check_writable, write_per_query
from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.pipelines.commands.rendering import INDENT, ChunkRenderer

if TYPE_CHECKING:
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.hits import Pair, PairHits
    from mnemodex.retrievers.qa.retriever import QARetriever

_ANSWERS = 5
"""Answers of a pair that are printed."""


class PairRenderer(ChunkRenderer):
    """Prints hits as pairs: question, answers, and the sentence that they are from."""

    @override
    def to_json(self) -> dict[str, Any]:
        hits = self._hits()
        listed = [[pair.to_json() for pair in row] for row in hits.pairs()]
        return {"index": self.request.index, "hits": self._with_reasons(listed, hits)}

    @override
    def print(self) -> None:
        for question, pairs in zip(self.request.questions, self._hits().pairs(), strict=True):
            say((question, "bold"))
            for pair in pairs:
                _print_pair(pair)
            if not pairs:
                say("  no hits")
            say()

    def _hits(self) -> PairHits:
        return cast("PairHits", self.request.hits())


def _print_pair(pair: Pair) -> None:
    more = f" (and {len(pair.answers) - _ANSWERS} more)" if len(pair.answers) > _ANSWERS else ""
    answers = "; ".join(pair.answers[:_ANSWERS])
    say(f"{pair.rank:>3}  {pair.score:>8.4f}  ", pair.question, indent=INDENT)
    say(" " * INDENT, (answers, "bold"), more, indent=INDENT)
    if pair.chunk is not None:
        source = (f"[{pair.chunk.key}]", "dim")
        say(" " * INDENT, source, f" {pair.sentence}" if pair.sentence else "", indent=INDENT)


class AnswerEvaluator:
    """Measures an index of pairs, by questions whose answers are known."""

    options: ClassVar = frozenset({"queries", "k", "per_query"})
    required: ClassVar = "queries"
    measured_with: ClassVar = "questions and their answers"

    def __init__(self, memory: Memory, index: str, options: dict[str, Any]) -> None:
        self._memory = memory
        self._index = index
        self._options = options

    def print(self, *, as_json: bool) -> None:
        """Print the measures, and write those of each query.

        Raises:
            UserError: the queries cannot be read or have no answers, or a file cannot be written.
        """
        from mnemodex.retrievers.qa.evaluation import evaluate_answers
        from mnemodex.retrievers.queries import read_queries

        check_writable(self._options, "per_query")
        retriever = cast("QARetriever", self._memory.retriever(self._index))
        result = evaluate_answers(retriever, read_queries(self._options["queries"]), k=self._options.get("k", 50))
        if result.queries_without_answers:
            say(f"{result.queries_without_answers} queries without answers are left out", err=True)
        write_per_query(self._options, result.per_query)
        if as_json:
            print_json(result.to_json())
            return
        title = f"{self._index}: {result.queries} queries, k = {result.k}"
        measures: list[tuple[str, float | None]] = [*result.metrics.items(), ("AUROC", result.abstention["AUROC"])]
        print_table(title, ("measure", "value"), measures)
        say(f"{result.seconds:.2f} s, {1000 / result.queries_per_second:.2f} s per 1,000 questions")
