"""Neighbours of hits: the chunks before and after a hit in its document or session gain from it.

As the contiguity buffer of EM-LLM (Fountas et al., ICLR 2025), which reads the events around each one that is similar.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise, starmap
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import are_among, begins
from mnemodex.indexers.combined_settings import ContiguitySettings
from mnemodex.indexers.contiguity import Sequences
from mnemodex.indexers.rows import Rows, ShardRows
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.fusion import standing_of
from mnemodex.retrievers.hits import MISSING_ID, Hits, Reason
from mnemodex.retrievers.parts import chunk_retriever
from mnemodex.retrievers.recency import Recency
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Array, Bools, Float32s, Float64s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import IndexEntry


@dataclass(frozen=True, slots=True)
class _Lent:
    """What n chunks have of their own, and what a neighbour lends them; each chunk once a question.

    Attributes:
        query: ascending, int64 of shape (n,).
        place: in the sequences, ascending within a question, int64 of shape (n,).
        rank: among the hits of the index, from 0; -1 where it is none. int64 of shape (n,).
        standing: of the hit, 0 where it is none, float64 of shape (n,).
        lender: the place of the neighbour that lends most, -1 where none does, int64 of shape (n,).
        gain: what it lends, float64 of shape (n,).
    """

    query: Int64s
    place: Int64s
    rank: Int64s
    standing: Float64s
    lender: Int64s
    gain: Float64s

    def only(self, kept: Bools) -> _Lent:
        """Return some of the chunks, bool of shape (n,)."""
        return _Lent(*(getattr(self, field.name)[kept] for field in fields(self)))


class ContiguityRetriever(Retriever):
    """Searches another index, and raises the neighbours of its hits.

    A score is the chunk's standing among the index's hits, see `Candidates`, and the most that a neighbour lends: its
    excess x decay^distance. The excess of a hit is by how much its standing is above the mean of the first `depth`
    places of the question; hits below that fill up the list, and lend nothing.
    """

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._entry = entry
        self._settings = ContiguitySettings.model_validate(entry.settings)
        self._recency = Recency.of(memory, entry.name, self._settings.recency)
        self.of = chunk_retriever(memory, self._settings.of)

    @property
    @override
    def near(self) -> ContiguityRetriever:
        return self

    @cached_property
    def sequences(self) -> Sequences:
        """The sequences of the chunks that tombstones do not name."""
        snapshot = self._memory.snapshot
        folders = snapshot.shards(self._entry)
        if not folders:
            none = np.zeros(0, np.int64)
            return Sequences(Rows(none, none.astype(np.int32), none, ()), np.zeros(1, np.int64))
        sequences = Sequences.open(folders[0])
        left_out = snapshot.tombstones.mask("chunk_id", np.asarray(sequences.rows.ids))
        return sequences.without(left_out) if left_out.any() else sequences

    @property
    def snapshot(self) -> Snapshot:
        """What is searched."""
        return self._memory.snapshot

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        if self._recency is not None:
            return self._recency.weigh(self._found(questions, max(k, self._settings.depth), where), k)
        return self._found(questions, k, where)

    def _found(self, questions: list[str], k: int, where: str | None) -> Hits:
        hits = self.of.search(questions, max(k, self._settings.depth), where=where)
        lent = self._lend(hits)
        if where is not None:
            lent = lent.only((lent.rank >= 0) | are_among(self._ids(lent.place), self._memory.ids_where(where)))
        scores = (lent.standing + lent.gain).astype(np.float32)
        bounds = np.searchsorted(lent.query, np.arange(len(questions) + 1)).tolist()

        def best() -> Iterator[tuple[Int64s, Float32s]]:
            for part in starmap(slice, pairwise(bounds)):
                chosen = top_k(scores[part], k, ids=self._ids(lent.place[part]))
                yield lent.place[part][chosen], scores[part][chosen]

        def explain(numbers: Int64s) -> list[list[list[Reason]]]:
            found = [
                bounds[query] + np.searchsorted(lent.place[bounds[query] : bounds[query + 1]], row[row >= 0])
                for query, row in enumerate(numbers)
            ]
            return [[self._reasons(lent, bounds, hit) for hit in row.tolist()] for row in found]

        rows = ShardRows([self.sequences.rows])
        return Hits.at(self._memory.snapshot, rows, best(), k, explain=explain)

    def _ids(self, places: Int64s) -> Int64s:
        return np.asarray(self.sequences.rows.ids)[places]

    def _lend(self, hits: Hits) -> _Lent:
        """Return the hits and their neighbours."""
        settings, (query, rank) = self._settings, np.nonzero(hits.ids != MISSING_ID)
        standing = standing_of(hits, settings.depth)
        own, place = standing[query, rank], self.sequences.places(hits.ids[query, rank])
        excess = own - standing[:, : settings.depth].mean(axis=1)[query]
        lends = excess > 0
        around = self.sequences.around(place[lends], settings.before, settings.after)
        distance = np.abs(np.arange(-settings.before, settings.after + 1))
        gain = excess[lends, None] * settings.decay**distance
        taken = (around >= 0) & (distance > 0)
        lender, row = np.broadcast_to(place[lends, None], around.shape)[taken], np.nonzero(taken)[0]
        # The hits, and after them what is lent: of a chunk its hit comes first, then what lends most.
        entries = len(query)
        queries, places = np.concatenate([query, query[lends][row]]), np.concatenate([place, around[taken]])
        gains = np.concatenate([np.zeros(entries), gain[taken]])
        lenders = np.concatenate([np.full(entries, -1), lender])
        order = np.lexsort((-gains, np.arange(len(queries)) >= entries, places, queries))
        first = begins(queries[order], places[order])
        is_hit = order[first] < entries
        is_lent = np.diff(first, append=len(order)) > is_hit
        hit = order[first[is_hit]]
        lent = order[(first + is_hit)[is_lent]]
        chunks = order[first]
        return _Lent(
            queries[chunks],
            places[chunks],
            _filled(is_hit, rank[hit], -1),
            _filled(is_hit, own[hit], 0.0),
            _filled(is_lent, lenders[lent], -1),
            _filled(is_lent, gains[lent], 0.0),
        )

    def _reasons(self, lent: _Lent, bounds: list[int], number: int) -> list[Reason]:
        """Return the rank of a hit in the index, and which neighbour lends to it."""
        reasons, rank, name = [], int(lent.rank[number]), self._settings.of
        if rank >= 0:
            standing = float(lent.standing[number])
            text = f"{name}: rank {rank + 1}, {standing:.2f} deviations above the others"
            reasons.append(Reason("index", text, standing))
        if (lender := int(lent.lender[number])) >= 0:
            query = slice(bounds[lent.query[number]], bounds[lent.query[number] + 1])
            its_rank = lent.rank[query][np.searchsorted(lent.place[query], lender)]
            distance = int(lent.place[number]) - lender
            side = f"{abs(distance)} {'after' if distance > 0 else 'before'}"
            reasons.append(Reason("neighbour", f"{side} rank {its_rank + 1} of {name}", float(lent.gain[number])))
        return sorted(reasons, key=lambda reason: -reason.score)


def _filled(there: Bools, values: Array, missing: float) -> Array:
    """Return an array that has the values where there are some."""
    found = np.full(len(there), missing, values.dtype)
    found[there] = values
    return found
