"""Hits: what every retriever answers with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from mnemodex.indexers.rows import Rows
    from mnemodex.retrievers.snapshot import Snapshot

MISSING_ID = -1
MISSING_SCORE = np.float32(-np.inf)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One hit's chunk with its document's key."""

    rank: int
    score: float
    chunk_id: int
    doc_id: int
    key: str
    title: str
    text: str
    start: int
    end: int

    def to_json(self) -> dict[str, Any]:
        """As `search --json` prints it: ids are strings, since they do not fit a JavaScript number."""
        return {
            "rank": self.rank,
            "score": self.score,
            "chunk_id": str(self.chunk_id),
            "key": self.key,
            "title": self.title,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Reason:
    """What spoke for a hit.

    Attributes:
        kind: what it is, in the retriever's words.
        text: it, as people read it.
        score: how much of the hit's score it made.
    """

    kind: str
    text: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """As `search --json --explain` prints it."""
        return {"kind": self.kind, "text": self.text, "score": self.score}


@dataclass(frozen=True)
class Hits:
    """The answers to a batch of queries.

    Attributes:
        ids: int64 of shape (queries, k); -1 where there are fewer than k.
        scores: float32 of shape (queries, k), descending, ties by ascending id; -inf where there are fewer than k.
        partition: number of each hit's partition in `labels`, int32 of shape (queries, k); -1 where there is none.
        row: its row there, int64 of shape (queries, k); -1 where there is none.
        labels: the partitions' labels.
        snapshot: where the rows are read from.
        kind: the id space: "chunk", "pair" or "position".
        explain: finds the reasons of every hit; None where the retriever knows none.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    partition: NDArray[np.int32]
    row: NDArray[np.int64]
    labels: tuple[str, ...]
    snapshot: Snapshot
    kind: str = "chunk"
    explain: Callable[[], list[list[list[Reason]]]] | None = None

    @classmethod
    def at(
        cls,
        snapshot: Snapshot,
        rows: Rows,
        numbers: NDArray[np.int64],
        scores: NDArray[np.float32],
        *,
        explain: Callable[[], list[list[list[Reason]]]] | None = None,
    ) -> Hits:
        """Return hits that are given by their numbers in the rows of an index.

        Args:
            snapshot: where the rows are read from.
            rows: ids and places of all rows.
            numbers: int64 of shape (queries, k), best first; -1 where there are fewer than k.
            scores: float32 of the same shape.
            explain: finds the reasons of every hit.
        """
        found = numbers >= 0
        if not len(rows.ids):
            empty = np.full(numbers.shape, MISSING_ID, np.int64)
            return cls(empty, scores, empty.astype(np.int32), empty, rows.labels, snapshot, explain=explain)
        return cls(
            np.where(found, rows.ids[numbers], MISSING_ID),
            np.where(found, scores, MISSING_SCORE),
            np.where(found, rows.partition[numbers], np.int32(-1)),
            np.where(found, rows.row[numbers], -1),
            rows.labels,
            snapshot,
            explain=explain,
        )

    @classmethod
    def best(
        cls,
        snapshot: Snapshot,
        rows: Rows,
        scores: Iterable[NDArray[np.float32]],
        k: int,
        *,
        among: NDArray[np.int64] | None = None,
        explain: Callable[[NDArray[np.int64]], list[list[list[Reason]]]] | None = None,
    ) -> Hits:
        """Return the k best rows of an index for each query: ties by ascending id, rows that score -inf left out.

        Args:
            snapshot: where the rows are read from.
            rows: ids and places of all rows.
            scores: for each query the scores of all rows, float32 of shape (rows,).
            k: hits wanted.
            among: the numbers of the rows that may be hits, int64; all by default.
            explain: finds the reasons of every hit, given the numbers of the hits' rows, int64 of shape (queries, k).
        """
        ids = np.asarray(rows.ids) if among is None else np.asarray(rows.ids)[among]
        numbers, best = [np.zeros((0, k), np.int64)], [np.zeros((0, k), np.float32)]
        for all_scores in scores:
            candidates = all_scores if among is None else all_scores[among]
            chosen = top_k(candidates, k, ids=ids)
            chosen = chosen[candidates[chosen] > MISSING_SCORE]
            room = (0, k - len(chosen))
            numbers.append(np.pad(chosen if among is None else among[chosen], room, constant_values=-1)[None])
            best.append(np.pad(candidates[chosen], room, constant_values=MISSING_SCORE)[None])
        chosen_rows = np.concatenate(numbers)
        reasons = None if explain is None else partial(explain, chosen_rows)
        return cls.at(snapshot, rows, chosen_rows, np.concatenate(best), explain=reasons)

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.ids)

    def chunks(self) -> list[list[Chunk]]:
        """The chunks of each query, best first; read by position, never by a scan."""
        table = self.to_arrow()
        answers: list[list[Chunk]] = [[] for _ in range(len(self))]
        for row in table.to_pylist():
            answers[row.pop("query")].append(Chunk(**row))
        return answers

    def reasons(self) -> list[list[list[Reason]]]:
        """For each query, for each of its hits: what spoke for it, the most first; nothing where that is not known."""
        if self.explain is not None:
            return self.explain()
        return [[[] for _ in range(found)] for found in (self.ids != MISSING_ID).sum(axis=1).tolist()]

    def to_arrow(self) -> pa.Table:
        """One row a hit: query (its number), rank (from 1), score and the fields of `Chunk`, by query and rank."""
        query, place = np.nonzero(self.ids != MISSING_ID)
        table = self._rows(["chunk_id", "doc_id", "title", "text", "start", "end"])
        columns = {
            "query": pa.array(query),
            "rank": pa.array(place + 1),
            "score": pa.array(self.scores[query, place]),
            "chunk_id": table["chunk_id"],
            "doc_id": table["doc_id"],
            "key": pa.array(self._keys(), pa.string()),
            **{name: table[name] for name in ("title", "text", "start", "end")},
        }
        return pa.table(columns)

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a data frame."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_trec(self, query_ids: Sequence[str] | None = None, *, tag: str = "mnemodex") -> str:
        """A TREC run: one line a document, a document scoring as its best chunk.

        Args:
            query_ids: the queries' names; their numbers from 0 by default.
            tag: the run's name.
        """
        names = query_ids if query_ids is not None else [str(number) for number in range(len(self))]
        return trec_run(names, self.documents(), tag=tag)

    def documents(self) -> list[list[tuple[str, float]]]:
        """For each query the keys and scores of its documents, best first; a document scores as its best chunk."""
        answers: list[dict[str, float]] = [{} for _ in range(len(self))]
        query, place = np.nonzero(self.ids != MISSING_ID)
        for number, score, key in zip(query.tolist(), self.scores[query, place].tolist(), self._keys(), strict=True):
            answers[number].setdefault(key, score)
        return [list(answer.items()) for answer in answers]

    def document_ids(self) -> NDArray[np.int64]:
        """The document of each hit, int64 of shape (queries, k), -1 where there is none."""
        result = np.full(self.ids.shape, MISSING_ID, np.int64)
        for label, where in self._by_partition():
            result[where] = self.snapshot.column("chunks", label, "doc_id")[self.row[where]]
        return result

    def _by_partition(self) -> Iterator[tuple[str, tuple[NDArray[np.intp], ...]]]:
        """Each partition that has hits, with the places of these."""
        found = self.ids != MISSING_ID
        for number in np.unique(self.partition[found]):
            yield self.labels[number], np.nonzero(found & (self.partition == number))

    def _rows(self, columns: list[str]) -> pa.Table:
        """Columns of the hits' chunks, by query and rank."""
        found = self.ids != MISSING_ID
        position = np.cumsum(found.ravel()).reshape(found.shape) - 1
        parts, places = [], []
        for label, where in self._by_partition():
            parts.append(self.snapshot.take("chunks", label, self.row[where].tolist(), columns))
            places.append(position[where])
        if not parts:
            from mnemodex.schemas.tables import CHUNKS, spec_of

            return pa.schema([spec_of(CHUNKS).schema.field(name) for name in columns]).empty_table()
        return pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(places))))

    def _keys(self) -> list[str]:
        """The keys of the hits' documents, by query and rank.

        A chunk's document stands in the documents partition of the same label.
        """
        documents = self.document_ids()
        keys = np.full(self.ids.shape, "", dtype=object)
        for label, where in self._by_partition():
            ids = self.snapshot.column("documents", label, "doc_id")
            order = np.argsort(ids)
            rows = order[np.searchsorted(ids, documents[where], sorter=order)]
            keys[where] = self.snapshot.column("documents", label, "key")[rows]
        return list(keys[self.ids != MISSING_ID])


def trec_run(names: Sequence[str], answers: Sequence[Sequence[tuple[str, float]]], *, tag: str) -> str:
    """A TREC run: `query Q0 document rank score tag` a line.

    Fields end at white space, so that of names and keys is written as in a URL (`a b` is `a%20b`).

    Args:
        names: the queries' names.
        answers: for each query the keys and scores of its documents, best first.
        tag: the run's name.
    """
    # Nine digits tell any two float32 apart: evaluators sort by the score.
    lines = [
        f"{_field(name)} Q0 {_field(key)} {rank} {score:.9g} {tag}\n"
        for name, answer in zip(names, answers, strict=True)
        for rank, (key, score) in enumerate(answer, start=1)
    ]
    return "".join(lines)


def _field(text: str) -> str:
    return re.sub(r"\s", lambda space: quote(space[0]), text)
