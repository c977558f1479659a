"""Spans: hits with what is before and after them in their document or session, merged, every text once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.arrays import find_ids
from mnemodex.retrievers.hits import Hits
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.retrievers.contiguity import ContiguityRetriever

MOST = 10_000
"""Chunks before a hit, and after it: there is room for as many as were asked for, of every hit."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a document: `text` is the characters [start, end) of its text."""

    doc_id: int
    key: str
    title: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Chunks that follow each other in a document or a session.

    Attributes:
        ranks: of the hits in it, from 1, ascending.
        score: of the best of them.
        pieces: in order; what follows another one in the same document is one piece with it.
        source: where its first chunk is in the source: the number of its partition and its row.
    """

    ranks: tuple[int, ...]
    score: float
    pieces: tuple[Piece, ...]
    source: tuple[int, int]

    @property
    def text(self) -> str:
        """The texts of the pieces, a blank line between two."""
        return "\n\n".join(piece.text for piece in self.pieces)

    def to_json(self) -> dict[str, Any]:
        """Return what `search --expand --json` prints; ids are strings, as in hits."""
        pieces = [asdict(piece) | {"doc_id": str(piece.doc_id)} for piece in self.pieces]
        return {"ranks": list(self.ranks), "score": self.score, "text": self.text, "pieces": pieces}


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The hits of one query and the chunks around them: n chunks in the order of their sequences.

    Attributes:
        scores: of the hits, descending.
        around: the numbers of the chunks around each hit, -1 beyond the ends, int64 of shape
            (hits, before + 1 + after).
        before: how many columns of these are before the hit.
        follows: whether a chunk follows the one before it in its sequence, bool of shape (n,).
        pieces: of the chunks.
        documents: the texts of their documents, by id.
        source: where each is in the source: the number of its partition and its row.
    """

    scores: list[float]
    around: Int64s
    before: int
    follows: Bools
    pieces: list[Piece]
    documents: dict[int, str]
    source: list[tuple[int, int]]

    def spans(self, chunks: Int64s) -> list[Span]:
        """Return some of the chunks as spans, those with the best hits first; the numbers are ascending."""
        ranks = {chunk: rank for rank, chunk in enumerate(self.around[:, self.before].tolist(), 1)}
        breaks = np.flatnonzero((np.diff(chunks) != 1) | ~self.follows[chunks[1:]]) + 1
        spans = []
        for run in np.split(chunks, breaks):
            inside = sorted(ranks[chunk] for chunk in run.tolist() if chunk in ranks)
            if inside:
                pieces = tuple(self._merged([self.pieces[chunk] for chunk in run.tolist()]))
                spans.append(Span(tuple(inside), self.scores[inside[0] - 1], pieces, self.source[run[0]]))
        return sorted(spans, key=lambda span: span.ranks)

    def _merged(self, pieces: list[Piece]) -> Iterator[Piece]:
        """Yield pieces of which those of one document that follow each other are one, with what is between them."""
        for doc_id, group in groupby(pieces, key=lambda piece: piece.doc_id):
            parts = list(group)
            start, end = min(part.start for part in parts), max(part.end for part in parts)
            yield replace(parts[0], start=start, end=end, text=self.documents[doc_id][start:end])


def sides(expand: object) -> tuple[int, int]:
    """Return how many chunks before and after a hit `search(expand=...)` asks for: one number for both, or a pair.

    Raises:
        QueryError: it is neither, or a number is below 0 or above `MOST`.
    """
    pair = expand if isinstance(expand, tuple) else (expand, expand)
    if len(pair) == 2 and all(map(_is_count, pair)):
        return int(pair[0]), int(pair[1])
    raise QueryError(f"expand is {expand!r}; give a number of chunks from 0 to {MOST}, or two: expand=(before, after)")


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) <= MOST


def expand_hits(hits: Hits, before: int, after: int, *, near: ContiguityRetriever | None) -> list[list[Span]]:
    """Return for each query its hits with so many chunks before and after them, merged where they meet.

    Neighbours are those of the sequences of `near`, a contiguity index of the same memory, which may reach beyond a
    document; without it, the chunks of the same document. This is the contiguity buffer of EM-LLM (Fountas et al., ICLR
    2025).

    Raises:
        QueryError: the hits are of a server, which sends no neighbours, or are no chunks; or `near` is no contiguity
            index of the hits' snapshot.
    """
    found = neighbourhoods(hits, before, after, near)
    return [one.spans(np.arange(len(one.pieces))) if one.pieces else [] for one in found]


def neighbourhoods(hits: Hits, before: int, after: int, near: ContiguityRetriever | None) -> Iterator[Neighbourhood]:
    """Yield the neighbourhood of the hits of each query; for the arguments and errors see `expand_hits`."""
    if not isinstance(hits, Hits):
        raise QueryError(f"the hits are a {type(hits).__name__}; give what a search without group_by and expand gives")
    snapshot = hits.snapshot
    if not isinstance(snapshot, Snapshot):
        raise QueryError("hits of a server come without their neighbours; expand them where the memory is")
    if hits.kind != "chunk":
        raise QueryError(f"the hits are {hits.kind}s and have no neighbours; expand hits that are chunks")
    if not (_is_count(before) and _is_count(after)):
        raise QueryError(f"before is {before!r} and after is {after!r}; give numbers of chunks from 0 to {MOST}")
    if near is not None:
        _check_near(near, snapshot)
    bases, starts = _partitions(snapshot)
    for query in range(len(hits)):
        found = hits.partition[query] >= 0
        number = np.array([bases[hits.labels[part]] for part in hits.partition[query, found]], np.int64)
        if near is not None:
            place, sequences = near.sequences.places(hits.ids[query, found]), near.sequences
            around = sequences.around(place, before, after)
            places = np.unique(around[around >= 0])
            sequence = np.searchsorted(sequences.starts, places, side="right")
            known = sequences.rows
            part = np.array([bases[label] for label in known.labels], np.int64)[known.partition[places]]
            row = known.row[places]
        else:
            around = _in_documents(snapshot, list(bases), starts, number, hits.row[query, found], before, after)
            places = np.unique(around[around >= 0])
            part = np.searchsorted(starts, places, side="right") - 1
            row = places - starts[part]
            sequence = np.zeros(len(places), np.int64)
        pieces, texts = _read(snapshot, list(bases), part, row)
        documents = np.array([piece.doc_id for piece in pieces], np.int64)
        same = sequence[1:] == sequence[:-1] if near is not None else documents[1:] == documents[:-1]
        follows = np.concatenate([np.zeros(min(1, len(places)), np.bool_), same & (np.diff(places) == 1)])
        yield Neighbourhood(
            hits.scores[query, found].tolist(),
            np.where(around >= 0, np.searchsorted(places, around), -1),
            before,
            follows,
            pieces,
            texts,
            list(zip(part.tolist(), row.tolist(), strict=True)),
        )


def _check_near(near: object, snapshot: Snapshot) -> None:
    from mnemodex.retrievers.contiguity import ContiguityRetriever

    if not isinstance(near, ContiguityRetriever):
        raise QueryError(f"near is a {type(near).__name__}; give the retriever of an index of type contiguity")
    own = near.snapshot
    if (own.store.root, own.name) != (snapshot.store.root, snapshot.name):
        raise QueryError(
            f"near: index {near.name!r} is of snapshot {own.name} of {own.store.root}, and the hits are of "
            f"{snapshot.name} of {snapshot.store.root}. Give an index of the memory that was searched"
        )


def _partitions(snapshot: Snapshot) -> tuple[dict[str, int], Int64s]:
    """Return the numbers of the partitions of chunks in the order of the source, and where the rows of each begin."""
    parts = list(snapshot.manifest.tables[CHUNKS.label].partitions)
    starts = np.cumsum([0, *(part.rows for part in parts)], dtype=np.int64)[:-1]
    return {part.label: number for number, part in enumerate(parts)}, starts


def _in_documents(
    snapshot: Snapshot, labels: list[str], starts: Int64s, part: Int64s, rows: Int64s, before: int, after: int
) -> Int64s:
    """Return the places around some rows of partitions that are of the same document, -1 where there is none."""
    around = np.full((len(rows), before + 1 + after), -1, np.int64)
    for number in np.unique(part).tolist():
        hits = part == number
        documents = snapshot.column(CHUNKS.label, labels[number], "doc_id")
        reach = rows[hits][:, None] + np.arange(-before, after + 1)
        inside = np.clip(reach, 0, len(documents) - 1)
        same = (inside == reach) & (documents[inside] == documents[rows[hits]][:, None])
        around[hits] = np.where(same, reach + starts[number], -1)
    return around


def _read(snapshot: Snapshot, labels: list[str], part: Int64s, row: Int64s) -> tuple[list[Piece], dict[int, str]]:
    """Return chunks as pieces of documents, and the texts of these, given the partitions' numbers and the rows."""
    pieces: dict[int, Piece] = {}
    texts: dict[int, str] = {}
    for number in np.unique(part).tolist():
        chosen, label = np.flatnonzero(part == number), labels[number]
        chunks = snapshot.take(CHUNKS.label, label, row[chosen], ["doc_id", "start", "end", "text"])
        places = find_ids(snapshot.column(DOCUMENTS.label, label, "doc_id"), chunks["doc_id"].to_numpy())
        documents = snapshot.take(DOCUMENTS.label, label, places, ["doc_id", "key", "title", "text"])
        for place, chunk, document in zip(chosen.tolist(), chunks.to_pylist(), documents.to_pylist(), strict=True):
            texts[document["doc_id"]] = document.pop("text")
            pieces[place] = Piece(**document, start=chunk["start"], end=chunk["end"], text=chunk["text"])
    return [pieces[place] for place in range(len(part))], texts
