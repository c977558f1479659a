"""Hits by sessions, conversations or any other field of their documents: the best groups of a search."""

from __future__ import annotations

import difflib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnemodex.retrievers.fusion import standing_of
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.typed_fields import object_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Chunk, Hits
    from mnemodex.retrievers.memory import Memory

    Scoring = Literal["best", "sum"]
    Grouped = list[tuple[str | None, list[Chunk]]]
    """The hits of a question by the value of a field."""

_log = logging.getLogger("mnemodex")
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

    def to_json(self) -> dict[str, Any]:
        """Return what `search --group-by --json` prints."""
        return {"value": self.value, "score": self.score, "hits": [hit.to_json() for hit in self.hits]}


@dataclass(frozen=True, slots=True)
class GroupBy:
    """By what hits are grouped, and how a group scores.

    Attributes:
        field: of the documents' metadata; `a.b` is the field b of the object a.
        score: `best`, a group scores as its best hit; or `sum`, the sum of decay^i x the standing of its hit i, from 0,
            see `Candidates`, over the hits that were looked at: 100, or twice as many until there are enough groups.
        decay: for `sum`; from 0 (the best hit alone) to 1 (all hits count alike).

    Raises:
        QueryError: the field is no string, the scoring is unknown, or the decay is not in 0 to 1.
    """

    field: str
    score: Scoring = "best"
    decay: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.field, str):
            raise QueryError(f"group_by is {self.field!r}; name a field of the documents' metadata: group_by='session'")
        if self.score not in ("best", "sum"):
            raise QueryError(f"score is {self.score!r}; give 'best' or 'sum'")
        if not 0 <= self.decay <= 1:
            raise QueryError(f"decay is {self.decay}; give a number from 0 to 1")


class Grouping:
    """Groups hits, and says how many it wants to look at until there are enough groups.

    Args:
        by: a field of the documents' metadata, or a `GroupBy`.
        k: groups of a question.
        most_hits: hits of a question that a search gives at most.
        index: the name of the index that is searched.

    Attributes:
        depth: hits of a question that `groups` takes next.
    """

    def __init__(self, by: str | GroupBy, k: int, *, most_hits: int, index: str) -> None:
        self._by = by if isinstance(by, GroupBy) else GroupBy(by)
        self._k = k
        self._most = most_hits
        self._index = index
        self.depth = min(max(k, _DEPTH), most_hits)

    def groups(self, hits: Hits) -> list[list[Group]] | None:
        """Return the best k groups of each question, fewer where hits have fewer; None where more hits are wanted.

        Args:
            hits: `depth` of each question.

        Raises:
            QueryError: hits are no chunks, or no document has the field.
        """
        if hits.kind != "chunk":
            raise QueryError(f"index {self._index!r}: its hits are {hits.kind}s; group those of an index over chunks")
        found = _grouped(hits, self._by.field)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        wanted = sum(not done and len(groups) < self._k for done, groups in zip(exhausted, found, strict=True))
        if wanted and self.depth < self._most:
            self.depth = min(2 * self.depth, self._most)
            return None
        if wanted:
            _log.warning(
                "index %r: %d questions have fewer than %d groups among their first %d hits, the most that a search "
                "gives",
                self._index,
                wanted,
                self._k,
                self._most,
            )
        if not any(value is not None for groups in found for value, _ in groups) and any(found):
            check_group_field(self._by.field, hits.snapshot.metadata_fields)
        return self._best(hits, found)

    def _best(self, hits: Hits, found: list[Grouped]) -> list[list[Group]]:
        standing = standing_of(hits, _DEPTH) if self._by.score == "sum" else hits.scores
        decay = self._by.decay if self._by.score == "sum" else 0.0
        scored = [
            [_scored(value, chunks, scores, decay) for value, chunks in groups]
            for groups, scores in zip(found, standing, strict=True)
        ]
        return [sorted(groups, key=lambda group: -group.score)[: self._k] for groups in scored]


def check_group_field(field: str, known: Sequence[str]) -> None:
    """Refuse a field that is none of those that documents have, by a `QueryError`."""
    if field in known:
        return
    near = difflib.get_close_matches(field, known, n=1)
    known_fields = f"The fields are: {', '.join(known)}" if known else "Documents have no metadata; give them some"
    hint = f"Did you mean {near[0]!r}?" if near else known_fields
    raise QueryError(f"group_by: no document has the field {field!r}. {hint}")


def _scored(value: str | None, chunks: list[Chunk], scores: np.ndarray, decay: float) -> Group:
    own = scores[[chunk.rank - 1 for chunk in chunks]].astype(np.float64)
    return Group(value, float(own @ decay ** np.arange(len(own))), tuple(chunks))


def _grouped(hits: Hits, by: str) -> list[Grouped]:
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
    check_group_field(by, memory.snapshot.metadata_fields)
    groups = {}
    for key, metadata in memory.sql("SELECT key, metadata FROM documents").fetchall():
        inner = object_of(json.loads(metadata), by)
        value = None if inner is None else as_text(inner[0][inner[1]])
        groups[key] = f"(document {key})" if value is None else value
    return groups
