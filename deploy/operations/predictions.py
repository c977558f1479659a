"""`predictions`: one answer to each question, chosen from the pairs of an index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from mnemodex.deploy.operations.base import Form, check_number, retriever_of
from mnemodex.retrievers.base import check
from mnemodex.schemas.errors import LimitError, QueryError

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.retrievers.qa.predictions import Prediction


class PredictionsForm(Form):
    """Questions that pairs answer.

    Attributes:
        index: of type qa.
        questions: to be answered.
        where: a boolean SQL expression over chunks c and documents d.
        k: passages of a question whose answer the pairs do not know, where the index has a fallback.
    """

    index: str
    questions: list[str]
    where: str | None = None
    k: int = Field(default=10, ge=1)


def predictions(served: Served, request: PredictionsForm, access: Access) -> dict[str, Any]:
    """Return the answer of each question, how sure it is, and its pair; or passages, of an index with a fallback.

    No model writes anything: answers are those of the pairs. Without one, `answer` and `confidence` are None.
    """
    from mnemodex.retrievers.qa.retriever import QARetriever

    access.admit("search", served.name, request.index)
    check_number("questions", request.questions, served.limits.questions)
    if request.k > served.limits.k:
        raise LimitError(f"k: is {request.k}. Ask for at most {served.limits.k} passages")
    questions = check(request.questions, request.k)
    where = access.where_of(request.where)
    retriever = retriever_of(served, request.index, QARetriever, "qa")
    if retriever.fallback is not None:
        access.require_index(retriever.fallback)
    try:
        with served.locks[request.index]:
            found = retriever.predictions(questions, where=where, k=request.k)
    except QueryError as error:
        raise access.shown(error) from error
    answers = [_shown(*pair) for pair in zip(questions, found, strict=True)]
    return {"memory": served.name, "snapshot": served.snapshot, "index": request.index, "answers": answers}


def _shown(question: str, prediction: Prediction) -> dict[str, Any]:
    return {
        "question": question,
        "answer": prediction.answer,
        # JSON has no infinity.
        "confidence": prediction.confidence if math.isfinite(prediction.confidence) else None,
        "declined": prediction.declined,
        "source": prediction.source,
        "pair": None if prediction.pair is None else prediction.pair.to_json(),
        "passages": [chunk.to_json() for chunk in prediction.passages],
    }
