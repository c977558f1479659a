"""Passages of another index, where the pairs of a memory do not know the answer; a reader may answer from them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.readers.passage_reader import PassageReader


def back_off(
    predictions: Sequence[Prediction],
    queries: Sequence[str],
    retriever: Retriever,
    k: int,
    *,
    where: str | None = None,
    reader: PassageReader | None = None,
) -> list[Prediction]:
    """Return predictions, those without an answer with the first k passages of another index.

    Args:
        predictions: of each query.
        queries: as they were asked.
        retriever: of chunks.
        k: passages of a query.
        where: as in `Retriever.search`.
        reader: reads the passages and answers; without one, they are the answer.
    """
    open_queries = [number for number, prediction in enumerate(predictions) if prediction.answer is None]
    asked = [queries[number] for number in open_queries]
    found = retriever.search(asked, k, where=where).chunks()
    answered = list(predictions)
    for number, chunks in zip(open_queries, found, strict=True):
        answered[number] = replace(predictions[number], passages=tuple(chunks))
    if reader is None:
        return answered
    read = reader.read(asked, [[(chunk.title, chunk.text) for chunk in chunks] for chunks in found])
    for number, answer in zip(open_queries, read, strict=True):
        given = {"error": str(answer)} if isinstance(answer, NoAnswerError) else {"answer": answer}
        answered[number] = replace(answered[number], **given)
    return answered
