"""Hits as JSON that says all that they hold, so that a client can make the same hits of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.qa.hits import PairHits

if TYPE_CHECKING:
    from mnemodex.retrievers.hits import Hits

ID_NAMES = {"chunk": "chunk_id", "pair": "question_id", "position": "position"}
"""What the ids of hits are called, by their kind."""
CHUNK_FIELDS = ("chunk_id", "doc_id", "key", "title", "text", "start", "end", "metadata")


def hits_to_json(hits: Hits, *, explain: bool = False) -> list[list[dict[str, Any]]]:
    """Return the hits of each query; ids are strings, since they do not fit a JavaScript number.

    A hit has its id, its rank, its score and the fields of its chunk, which are None where it has none. One of a
    question has also that question and its answers.

    Args:
        hits: of a kind that `ID_NAMES` has.
        explain: whether each hit has its reasons.
    """
    name = ID_NAMES[hits.kind]
    listed: list[list[dict[str, Any]]] = []
    reasons = hits.reasons() if explain else []
    pairs = hits.pairs(with_chunks=False) if isinstance(hits, PairHits) else []
    for query, chunks in enumerate(hits.chunks()):
        by_rank = {chunk.rank: chunk.to_json() for chunk in chunks}
        row: list[dict[str, Any]] = []
        for column in range(int((hits.ids[query] != MISSING_ID).sum())):
            chunk = by_rank.get(column + 1, {})
            hit: dict[str, Any] = {"rank": column + 1, "score": float(hits.scores[query, column])}
            hit |= {field: chunk.get(field) for field in CHUNK_FIELDS} | {name: str(hits.ids[query, column])}
            if pairs:
                pair = pairs[query][column]
                hit |= {"question": pair.question, "answers": list(pair.answers)}
            if explain:
                hit["reasons"] = [reason.to_json() for reason in reasons[query][column]]
            row.append(hit)
        listed.append(row)
    return listed
