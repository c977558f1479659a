"""How `search` and `eval` show question-answer pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from mnemodex.pipelines.commands.evaluation import check_writable, write_per_query
from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.pipelines.commands.rendering import INDENT, ChunkRenderer, print_chunks, print_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Reason
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.hits import Pair, PairHits
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.qa.retriever import QARetriever

_ANSWERS = 5
"""Answers of a pair that are printed."""


class PairRenderer(ChunkRenderer):
    """Prints hits as pairs: question, answers, and the sentence that they are from."""

    @override
    def to_json(self) -> dict[str, Any]:
        hits = self._hits()
        listed = [[pair.to_json() for pair in row] for row in hits.pairs()]
        found: dict[str, Any] = {"index": self.request.index, "hits": self._with_reasons(listed, hits)}
        if (fallback := self._retriever().fallback) is None:
            return found
        predictions = self._predictions()
        passages = [[chunk.to_json() for chunk in prediction.passages] for prediction in predictions]
        sources = [prediction.source for prediction in predictions]
        return found | {"source": sources, "fallback": fallback, "passages": passages}

    @override
    def print(self) -> None:
        hits, fallback = self._hits(), self._retriever().fallback
        reasons: Sequence[Sequence[Sequence[Reason]]] = hits.reasons() if self.request.explain else ()
        predictions = self._predictions() if fallback is not None else []
        for number, (question, pairs) in enumerate(zip(self.request.questions, hits.pairs(), strict=True)):
            if predictions and predictions[number].source == "passages":
                note = f"no pair of {self.request.index} answers this for sure; passages of {fallback}:"
                print_chunks(question, predictions[number].passages, note=note)
                continue
            say((question, "bold"))
            for pair in pairs:
                _print_pair(pair, reasons[number][pair.rank - 1] if reasons else ())
            if not pairs:
                say("  no hits")
            say()

    def _retriever(self) -> QARetriever:
        return cast("QARetriever", self.request.memory.retriever(self.request.index))

    def _predictions(self) -> list[Prediction]:
        request = self.request
        return self._retriever().predictions(request.questions, where=request.where, k=request.k)

    def _hits(self) -> PairHits:
        return cast("PairHits", self.request.hits())


def _print_pair(pair: Pair, reasons: Sequence[Reason]) -> None:
    more = f" (and {len(pair.answers) - _ANSWERS} more)" if len(pair.answers) > _ANSWERS else ""
    answers = "; ".join(pair.answers[:_ANSWERS])
    say(f"{pair.rank:>3}  {pair.score:>8.4f}  ", pair.question, indent=INDENT)
    say(" " * INDENT, (answers, "bold"), more, indent=INDENT)
    if pair.chunk is not None:
        source = (f"[{pair.chunk.key}]", "dim")
        say(" " * INDENT, source, f" {pair.sentence}" if pair.sentence else "", indent=INDENT)
    print_reasons(reasons)


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
