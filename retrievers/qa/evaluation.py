"""How right the answers of a question-answer index are."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.base import check
from mnemodex.retrievers.evaluation import Measures, group_by_kind
from mnemodex.retrievers.queries import search_each
from mnemodex.retrievers.readers.answers import exact_match, f1
from mnemodex.retrievers.risk_coverage import auroc, risk_coverage
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.qa.retriever import QARetriever
    from mnemodex.retrievers.queries import Query

_CUTOFFS = (1, 10, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEvaluation(Measures):
    """The measures of a question-answer index, of the questions whose answers are known.

    Attributes:
        queries: how many these are.
        queries_without_answers: how many others there are, which are left out.
        k: pairs a question.
        metrics: EM and F1 are of one predicted answer, a question without one counting 0; hits@n is the part of the
            questions that some answer of the first n pairs is right for; coverage the part that has a prediction, and
            EM@coverage the part of these that is right. Answers are compared in SQuAD's normal form.
        per_query: the predicted answer, how sure it is, EM, F1 and hits@n of each question.
        abstention: `AUROC` of the confidence, see `auroc`, and `risk_coverage`: for every threshold of confidence the
            part of the questions that it answers, and the part of these answers that is wrong; answers that the index
            declined to give included.
        seconds: wall time of the predictions, encoding included, loading excluded.
    """

    queries_without_answers: int
    abstention: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return what `eval --json` prints."""
        measures = asdict(self)
        del measures["per_query"]
        speed = {"queries_per_second": self.queries_per_second, "seconds_per_1000": 1000 / self.queries_per_second}
        return measures | speed


def evaluate_answers(retriever: QARetriever, queries: Sequence[Query], *, k: int = 50) -> AnswerEvaluation:
    """Ask all queries whose answers are known, each with its own filter, and compare.

    Raises:
        QueryError: no query has answers, or k is below 1.
    """
    judged = [query for query in queries if query.answers]
    if not judged:
        raise QueryError('no query has answers; give queries as {"id", "question", "answers"}')
    questions = check([query.question for query in judged], k)
    # Loads the model before the clock starts.
    retriever.predict(questions[:1])
    seconds = 0.0

    def answer(questions: list[str], where: str | None) -> list[tuple[Prediction, list[tuple[str, ...]]]]:
        nonlocal seconds
        started = time.perf_counter()
        asked = retriever.ask(questions, where=where)
        predictions = retriever.choose(asked)
        seconds += time.perf_counter() - started
        return list(zip(predictions, retriever.pairs(asked, k).answers(), strict=True))

    answered = search_each(judged, answer)
    cutoffs = [cutoff for cutoff in _CUTOFFS if cutoff <= k]
    per_query = {
        query.id: _judge(prediction, pairs, query, cutoffs)
        for query, (prediction, pairs) in zip(judged, answered, strict=True)
    }
    return AnswerEvaluation(
        index=retriever.name,
        queries=len(judged),
        queries_without_answers=len(queries) - len(judged),
        k=k,
        metrics=_metrics(list(per_query.values())),
        by_kind={kind: _metrics(rows) for kind, rows in group_by_kind(per_query, judged).items()},
        per_query=per_query,
        abstention=_measure_abstention([prediction for prediction, _ in answered], judged),
        seconds=seconds,
    )


def _judge(
    prediction: Prediction, pairs: Sequence[tuple[str, ...]], query: Query, cutoffs: Sequence[int]
) -> dict[str, Any]:
    """Return the measures of a query, given its prediction and the answers of its pairs, best first."""
    predicted = prediction.answer
    right = [any(exact_match(answer, query.answers) for answer in answers) for answers in pairs]
    return {
        "answer": predicted,
        "confidence": None if predicted is None else prediction.confidence,
        "EM": exact_match(predicted, query.answers) if predicted is not None else 0.0,
        "F1": f1(predicted or "", query.answers),
        **{f"hits@{cutoff}": float(any(right[:cutoff])) for cutoff in cutoffs},
    }


def _metrics(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the metrics of queries by the measures of each."""
    measures = [name for name in rows[0] if name not in {"answer", "confidence"}]
    metrics = {name: float(np.mean([row[name] for row in rows])) for name in measures}
    answered = [row["EM"] for row in rows if row["answer"] is not None]
    metrics["coverage"] = len(answered) / len(rows)
    metrics["EM@coverage"] = float(np.mean(answered)) if answered else 0.0
    return metrics


def judge_guesses(predictions: Sequence[Prediction], queries: Sequence[Query]) -> tuple[list[float], list[bool]]:
    """Return how sure each answer is and whether it is right, also of those that the index declined to give."""
    guesses = [(prediction, prediction.answer or prediction.declined) for prediction in predictions]
    judged = [
        (prediction.confidence, bool(exact_match(guess, query.answers)))
        for (prediction, guess), query in zip(guesses, queries, strict=True)
        if guess is not None
    ]
    return [confidence for confidence, _ in judged], [right for _, right in judged]


def _measure_abstention(predictions: Sequence[Prediction], queries: Sequence[Query]) -> dict[str, Any]:
    confidence, right = judge_guesses(predictions, queries)
    curve = risk_coverage(confidence, right, len(queries))
    return {"AUROC": auroc(confidence, right), "risk_coverage": curve.points()}
