"""Hits by sessions, conversations or any other field of their documents: the best groups of a search."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnemodex.retrievers.base import MOST_HITS, check
from mnemodex.retrievers.fusion import standing_of
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.typed_fields import object_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.hits import Chunk, Hits
    from mnemodex.retrievers.memory import Memory

    Scoring = Literal["best", "sum"]

_DEPTH = 100
"""Hits that are asked for first."""


@dataclass(frozen=True, slots=True)
class Group:
    """Hits of a question whose documents have one value of a field.

    Attributes:
        value: of the field, as text; of a document without one, which is a group of its own, None.
        score: of the group.
        hits: best first.
    """

    value: str | None
    score: float
    hits: tuple[Chunk, ...]


def search_groups(
    retriever: Retriever,
    queries: Sequence[str],
    k: int = 10,
    *,
    by: str,
    score: Scoring = "best",
    decay: float = 0.5,
    where: str | None = None,
) -> list[list[Group]]:
    """Return the best k groups of each question.

    Args:
        retriever: whose hits are chunks.
        queries: the questions.
        k: groups for each; fewer where the hits have fewer, of which `MOST_HITS` are looked at.
        by: a field of the documents' metadata; `a.b` is the field b of the object a.
        score: `best`, a group scores as its best hit; or `sum`, the sum of decay^i x the standing of its hit i, from 0,
            see `Candidates`, over the hits that were looked at: 100, or twice as many until there are k groups.
        decay: for `sum`; from 0 (the best hit alone) to 1 (all hits count alike).
        where: see `Retriever.search`.

    Raises:
        QueryError: as a search, or the scoring is unknown, the decay is not in 0 to 1, or hits are no chunks.
    """
    questions = check(queries, k)
    if score not in ("best", "sum"):
        raise QueryError(f"score is {score!r}; give 'best' or 'sum'")
    if not 0 <= decay <= 1:
        raise QueryError(f"decay is {decay}; give a number from 0 to 1")
    depth = max(k, _DEPTH)
    while True:
        hits = retriever.search(questions, depth, where=where)
        if hits.kind != "chunk":
            raise QueryError(
                f"index {retriever.name!r}: its hits are {hits.kind}s; group those of an index over chunks"
            )
        found = _grouped(hits, by)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        if depth == MOST_HITS or all(done or len(groups) >= k for done, groups in zip(exhausted, found, strict=True)):
            break
        depth = min(2 * depth, MOST_HITS)
    standing = standing_of(hits, _DEPTH) if score == "sum" else None
    answers = []
    for query, groups in enumerate(found):
        scores = hits.scores[query] if standing is None else standing[query]
        scored = [_scored(value, chunks, scores, 0.0 if standing is None else decay) for value, chunks in groups]
        answers.append(sorted(scored, key=lambda group: -group.score)[:k])
    return answers


def _scored(value: str | None, chunks: list[Chunk], scores: np.ndarray, decay: float) -> Group:
    own = scores[[chunk.rank - 1 for chunk in chunks]].astype(np.float64)
    return Group(value, float(own @ decay ** np.arange(len(own))), tuple(chunks))


def _grouped(hits: Hits, by: str) -> list[list[tuple[str | None, list[Chunk]]]]:
    """Return the groups of each query in the order of their best hits."""
    answers = []
    for chunks in hits.chunks():
        groups: dict[tuple[str | None, int | None], list[Chunk]] = {}
        for chunk in chunks:
            value = _value(chunk, by)
            groups.setdefault((value, chunk.doc_id if value is None else None), []).append(chunk)
        answers.append([(value, members) for (value, _), members in groups.items()])
    return answers


def _value(chunk: Chunk, by: str) -> str | None:
    inner = object_of(chunk.metadata, by)
    return None if inner is None else as_text(inner[0][inner[1]])


def as_text(value: object) -> str | None:
    """Return a value of metadata as a group is called by it; None for none."""
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def groups_of(memory: Memory, by: str) -> dict[str, str]:
    """Return the group of every document of a memory, by its key.

    A document without the field is a group of its own, `(document KEY)`.

    Raises:
        QueryError: no document has the field.
    """
    rows = memory.sql("SELECT key, metadata FROM documents").fetchall()
    groups, known = {}, False
    for key, metadata in rows:
        inner = object_of(json.loads(metadata), by)
        value = None if inner is None else as_text(inner[0][inner[1]])
        known |= value is not None
        groups[key] = f"(document {key})" if value is None else value
    if not known:
        raise QueryError(f"no document has the field {by!r}; name a field of the documents' metadata")
    return groups
