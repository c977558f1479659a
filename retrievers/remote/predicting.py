"""Answers chosen from pairs as calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.base import check, check_where
from mnemodex.retrievers.hits import MISSING_SCORE, Chunk
from mnemodex.retrievers.qa.hits import Pair
from mnemodex.retrievers.qa.predictions import Prediction
from mnemodex.retrievers.remote.calls import Call, Request, batches
from mnemodex.retrievers.remote.received import same_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.retrievers.remote.catalogue import Catalogue


def predictions_call(
    catalogue: Catalogue, index: str, queries: Sequence[str], k: int, where: str | None
) -> Call[list[Prediction]]:
    """Return the call for one answer to each query of an index of pairs."""
    questions = check(queries, k)
    where = None if where is None else check_where(where)

    def read(bodies: list[Any]) -> list[Prediction]:
        if bodies:
            same_snapshot(bodies)
        return [_prediction(answer) for body in bodies for answer in body["answers"]]

    body = {"memory": catalogue.name, "index": index, "where": where, "k": k}
    limits = catalogue.limits
    return Call([Request("/v1/predictions", {**body, "questions": list(b)}) for b in batches(questions, limits)], read)


def _prediction(answer: Mapping[str, Any]) -> Prediction:
    confidence = float(MISSING_SCORE) if answer["confidence"] is None else answer["confidence"]
    pair = None if answer["pair"] is None else read_pair(answer["pair"])
    passages = tuple(map(read_chunk, answer["passages"]))
    return Prediction(answer["answer"], confidence, pair, answer["declined"], passages)


def read_pair(pair: Mapping[str, Any]) -> Pair:
    """Return a pair without its chunk."""
    return Pair(pair["rank"], pair["score"], int(pair["question_id"]), pair["question"], tuple(pair["answers"]))


def read_chunk(chunk: Mapping[str, Any]) -> Chunk:
    """Return a chunk, whose ids are strings in JSON."""
    return Chunk(**{**chunk, "chunk_id": int(chunk["chunk_id"]), "doc_id": int(chunk["doc_id"])})
