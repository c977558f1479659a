"""How `search` and `eval` show question-answer pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from typing_extensions import override

from mnemodex.pipelines.commands.evaluation import check_writable, print_measures, write_per_query
from mnemodex.pipelines.commands.output import print_json, say
from mnemodex.pipelines.commands.rendering import INDENT, ChunkRenderer, print_chunks, print_reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Reason
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.evaluation import AnswerEvaluation
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

    def measure(self) -> AnswerEvaluation:
        """Return the measures.

        Raises:
            UserError: the queries cannot be read, or have no answers.
        """
        from mnemodex.retrievers.qa.evaluation import evaluate_answers
        from mnemodex.retrievers.queries import read_queries

        retriever = cast("QARetriever", self._memory.retriever(self._index))
        return evaluate_answers(retriever, read_queries(self._options["queries"]), k=self._options.get("k", 50))

    def say_left_out(self, result: AnswerEvaluation) -> None:
        """Say on stderr what of the queries is left out, which is the same for every index."""
        if result.queries_without_answers:
            say(f"{result.queries_without_answers} queries without answers are left out", err=True)

    def print(self, *, as_json: bool) -> None:
        """Print the measures, and write those of each query.

        Raises:
            UserError: as `measure`, or a file cannot be written.
        """
        check_writable(self._options, "per_query")
        result = self.measure()
        self.say_left_out(result)
        write_per_query(self._options, result.per_query)
        if as_json:
            print_json(result.to_json())
            return
        print_measures(result, AUROC=result.abstention["AUROC"])
        say(f"{result.seconds:.2f} s, {1000 / result.queries_per_second:.2f} s per 1,000 questions")
