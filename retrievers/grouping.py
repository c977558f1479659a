"""Hits by sessions, conversations or any other field of their documents: the best groups of a search."""

from __future__ import annotations

import difflib
import json
import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import chain
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import begins
from mnemodex.retrievers.fusion import standing_of
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.typed_fields import object_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.retrievers.hits import Chunk, Hits
    from mnemodex.retrievers.memory import Memory

    Scoring = Literal["best", "sum"]

_log = logging.getLogger("mnemodex")
_DEPTH = 100
"""Hits that are asked for first."""


@dataclass(frozen=True, slots=True)
class Group:
    """Hits of a question whose documents have one value of a field.

    Attributes:
        value: of the field, as text; of a document without one, which is a group of its own, None.
        score: of the group.
        hits: best first: the best one, and those among the first 100 hits of the question, or k where that is more.
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
        if not isinstance(self.decay, Real) or not 0 <= self.decay <= 1:
            raise QueryError(f"decay is {self.decay!r}; give a number from 0 to 1")


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
        found = _Members.of(hits, self._by.field)
        exhausted = (hits.ids == MISSING_ID).any(axis=1)
        wanted = int((~exhausted & (found.counts() < self._k)).sum())
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
        # A server says of the documents of hits alone what fields they have.
        can_know = bool(len(found.query)) or isinstance(hits.snapshot, Snapshot)
        if can_know and not len(found.names):
            check_group_field(self._by.field, hits.snapshot.metadata_fields)
        return self._best(hits, found)

    def _best(self, hits: Hits, found: _Members) -> list[list[Group]]:
        by_sum = self._by.score == "sum"
        scores = standing_of(hits, _DEPTH) if by_sum else hits.scores.astype(np.float64)
        ranks = found.ranks()
        shares = scores[found.query, found.place] * np.power(self._by.decay if by_sum else 0.0, ranks)
        listed = (ranks == 0) | (found.place < max(self._k, _DEPTH))
        best: list[dict[int, float]] = []
        for query in range(len(hits)):
            own = found.query == query
            groups, number = np.unique(found.group[own], return_inverse=True)
            sums = np.bincount(number, shares[own], len(groups))
            # Of equal scores the group with the better hit comes first.
            first = np.full(len(groups), hits.ids.shape[1])
            np.minimum.at(first, number, found.place[own])
            order = np.lexsort((first, -sums))[: self._k]
            best.append(dict(zip(groups[order].tolist(), sums[order].tolist(), strict=True)))
        pairs = zip(found.query.tolist(), found.group.tolist(), strict=True)
        members = found.chunks(hits, listed & np.array([group in best[query] for query, group in pairs], np.bool_))
        return [
            [Group(found.name(group), score, tuple(members[query, group])) for group, score in groups.items()]
            for query, groups in enumerate(best)
        ]


@dataclass(frozen=True, slots=True)
class _Members:
    """The n hits of some questions and their groups, by query and rank.

    Attributes:
        query: of each hit, int64 of shape (n,).
        place: its rank from 0, int64 of shape (n,).
        group: the number of its group, int64 of shape (n,); of a document without a value beyond the last name.
        names: of the groups with a value.
        queries: how many there are.
    """

    query: Int64s
    place: Int64s
    group: Int64s
    names: list[str]
    queries: int

    @classmethod
    def of(cls, hits: Hits, field: str) -> Self:
        """Read the values of a field of the hits' documents."""
        query, place = np.nonzero(hits.partition != MISSING_ID)
        _, first, number = np.unique(hits.document_ids()[query, place], return_index=True, return_inverse=True)
        # Each document's metadata is read once.
        metadata = hits.values("metadata").take(to_column(first, pa.int64())).to_pylist()
        values = [_value(text, field) for text in metadata]
        names = list(dict.fromkeys(value for value in values if value is not None))
        known = {name: group for group, name in enumerate(names)}
        groups = [len(names) + own if value is None else known[value] for own, value in enumerate(values)]
        return cls(query, place, np.array(groups, np.int64)[number], names, len(hits))

    def counts(self) -> Int64s:
        """Return how many groups each query has, int64 of shape (queries,)."""
        base = int(self.group.max(initial=0)) + 1
        return np.bincount(np.unique(self.query * base + self.group) // base, minlength=self.queries)

    def ranks(self) -> Int64s:
        """Return the rank of each hit in its group, from 0, int64 of shape (n,)."""
        order = np.lexsort((self.place, self.group, self.query))
        first = begins(self.query[order], self.group[order])
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
        return ranks

    def chunks(self, hits: Hits, wanted: Bools) -> dict[tuple[int, int], list[Chunk]]:
        """Return the chunks of some of the hits, bool of shape (n,), by query and group, best first."""
        query, place = self.query[wanted], self.place[wanted]
        partition = np.full_like(hits.partition, MISSING_ID)
        partition[query, place] = hits.partition[query, place]
        chunks = chain(*replace(hits, partition=partition, explain=None).chunks())
        found: dict[tuple[int, int], list[Chunk]] = defaultdict(list)
        for key, chunk in zip(zip(query.tolist(), self.group[wanted].tolist(), strict=True), chunks, strict=True):
            found[key].append(chunk)
        return found

    def name(self, group: int) -> str | None:
        """Return the value of a group; None of one without."""
        return self.names[group] if group < len(self.names) else None


def check_group_field(field: str, known: Sequence[str]) -> None:
    """Refuse a field that is none of those that documents have, by a `QueryError`."""
    if field in known:
        return
    near = difflib.get_close_matches(field, known, n=1)
    known_fields = f"The fields are: {', '.join(known)}" if known else "Documents have no metadata; give them some"
    hint = f"Did you mean {near[0]!r}?" if near else known_fields
    raise QueryError(f"group_by: no document has the field {field!r}. {hint}")


def _value(metadata: str, field: str) -> str | None:
    inner = object_of(json.loads(metadata), field)
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
    values = {key: _value(metadata, by) for key, metadata in rows}
    if all(value is None for value in values.values()):
        check_group_field(by, memory.snapshot.metadata_fields)
    return {key: f"(document {key})" if value is None else value for key, value in values.items()}
