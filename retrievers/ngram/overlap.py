"""Questions and answers of an evaluation whose n-grams are in the corpus (contamination of the test set)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokenizers import tokenize, unknown_token
from mnemodex.indexers.ngram.ragged import Ragged, offsets_of
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Bools, Int32s, Int64s
    from mnemodex.indexers.models.tokenizers import Tokens
    from mnemodex.indexers.ngram.index import FMIndex
    from mnemodex.retrievers.ngram.index import NgramIndex
    from mnemodex.retrievers.queries import Query
    from mnemodex.retrievers.snapshot import Snapshot

LENGTH = 13
"""Tokens of an n-gram, as GPT-3's authors took words (Brown et al., 2020, appendix C)."""
_BATCH = 1024
"""Texts that are looked up at once."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A text of a query that shares an n-gram with the corpus.

    Attributes:
        id: of the query.
        field: `question`, or `answer`.
        text: of the field.
        ngrams: how many n-grams the text has.
        found: how many of them are in the corpus.
        longest: tokens of the longest match: of the longest part of the text that the corpus has without a gap.
        match: the text of that match.
        key: of a document with that match.
    """

    id: str
    field: str
    text: str
    ngrams: int
    found: int
    longest: int
    match: str
    key: str


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The texts of queries that share an n-gram with the corpus, and how many there are of each field.

    Attributes:
        n: tokens of an n-gram.
        asked: texts that were looked up, by their field.
        short: texts with fewer tokens, which were not, by their field.
        overlaps: the texts that share an n-gram with the corpus, in the order of the queries.
    """

    n: int
    asked: dict[str, int]
    short: dict[str, int]
    overlaps: list[Overlap]


class _Text(NamedTuple):
    id: str
    field: str
    text: str


def find_overlaps(index: NgramIndex, snapshot: Snapshot, queries: Sequence[Query], *, n: int = LENGTH) -> Overlaps:
    """Look up the n-grams of all questions and answers, in the texts and the titles of documents.

    N-grams are of the index's tokens. A text with fewer tokens than n is left out and counted: short answers are in
    every corpus.

    Raises:
        QueryError: n is below 1.
    """
    if n < 1:
        raise QueryError(f"n is {n}; give at least 1 token")
    asked, short = {"question": 0, "answer": 0}, {"question": 0, "answer": 0}
    overlaps: list[Overlap] = []
    texts = list(_texts(queries))
    for start in range(0, len(texts), _BATCH):
        batch = _Batch(index, snapshot, n, texts[start : start + _BATCH])
        for text, places in zip(batch.texts, batch.places(), strict=True):
            (asked if places else short)[text.field] += 1
        overlaps += batch.find()
    return Overlaps(n, asked, short, overlaps)


def _texts(queries: Sequence[Query]) -> Iterator[_Text]:
    for query in queries:
        yield _Text(query.id, "question", query.question)
        yield from (_Text(query.id, "answer", answer) for answer in query.answers)


class _Batch:
    """Looks up the n-grams of some texts, tokenized with and without a space before them.

    Byte-pair tokenizers put the space before a word into its token; only the first word of a document has none.
    """

    def __init__(self, index: NgramIndex, snapshot: Snapshot, n: int, texts: Sequence[_Text]) -> None:
        self.texts = texts
        self._corpus = index.corpus
        self._snapshot = snapshot
        self._unknown = unknown_token(index.phrases.tokenizer)
        self._n = n
        spellings = [[f" {text.text.strip()}" for text in texts], [text.text.strip() for text in texts]]
        self._spellings = [(written, tokenize(index.phrases.tokenizer, written)) for written in spellings]

    def places(self) -> list[int]:
        """Return how many n-grams each text has."""
        _, tokens = self._spellings[0]
        return [max(len(own.ids) - self._n + 1, 0) for own in tokens]

    def find(self) -> Iterator[Overlap]:
        """Yield the texts that share an n-gram with the corpus."""
        spaced, plain = (self._found(written, tokens) for written, tokens in self._spellings)
        for number in sorted(spaced.keys() | plain.keys()):
            found = [row for row in (spaced.get(number), plain.get(number)) if row is not None]
            yield max(found, key=lambda overlap: (overlap.found, overlap.longest))

    def _found(self, written: Sequence[str], tokens: Sequence[Tokens]) -> dict[int, Overlap]:
        """Return the texts that share an n-gram with the corpus, by their numbers."""
        ids = [own.ids for own in tokens]
        places = np.array([max(len(row) - self._n + 1, 0) for row in ids], np.int64)
        fields = (self._corpus.body, self._corpus.title)
        lengths = np.stack([self._longest(field, ids, places) for field in fields])
        offsets = offsets_of(places)
        overlaps = {}
        for number, text in enumerate(self.texts):
            own = lengths[:, offsets[number] : offsets[number + 1]]
            found = int((own > 0).any(axis=0).sum())
            if found:
                field, place = np.unravel_index(int(own.argmax()), own.shape)
                longest = int(own[field, place])
                spans = tokens[number].offsets
                match = written[number][spans[place, 0] : spans[place + longest - 1, 1]].strip()
                key = self._key(fields[field], ids[number][place : place + longest])
                overlaps[number] = Overlap(*text, int(places[number]), found, longest, match, key)
        return overlaps

    def _longest(self, index: FMIndex, ids: Sequence[Int32s], places: Int64s) -> Int64s:
        """Return the tokens of the longest match in an index from each place on; 0 where it is shorter than n.

        Places are those where an n-gram begins, of all texts one after the other: int64 of shape (places,).
        """
        starts = np.arange(places.sum()) - np.repeat(offsets_of(places)[:-1], places)
        row = np.repeat(np.arange(len(places)), places)
        flat = np.concatenate([np.zeros(0, np.int32), *ids])
        begins = offsets_of(np.array(list(map(len, ids)), np.int64))
        first, ends = begins[row] + starts, begins[row + 1]
        known = self._known(flat)
        longest = np.zeros(len(starts), np.int64)
        # N-grams with an unknown token match nothing: the index does not know which words its own such tokens replaced.
        before = np.append(0, np.cumsum(~known))
        alive = np.flatnonzero(before[first + self._n] == before[first])
        windows = flat[first[alive][:, None] + np.arange(self._n)]
        ngrams = Ragged(windows.reshape(-1), np.arange(len(alive) + 1, dtype=np.int64) * self._n)
        ranges = index.ranges(ngrams)
        length = self._n
        while True:
            occurs = index.sizes(ranges) > 0
            alive, ranges = alive[occurs], ranges[occurs]
            longest[alive] = length
            more = first[alive] + length < ends[alive]
            alive, ranges = alive[more], ranges[more]
            if not len(alive):
                return longest
            following = flat[first[alive] + length]
            more = known[first[alive] + length]
            alive, following = alive[more], following[more]
            ranges = index.step(np.ascontiguousarray(ranges[more]), following)
            length += 1

    def _known(self, tokens: Int32s) -> Bools:
        """Return which tokens the index may have."""
        known = np.isin(tokens, self._corpus.body.vocabulary.ids)
        return known if self._unknown is None else known & (tokens != self._unknown)

    def _key(self, index: FMIndex, ngram: Int32s) -> str:
        """Return the key of the first document that has an n-gram."""
        number = index.locate([ngram], limit=1).documents[:1]
        rows = self._corpus.documents.at(number)
        label = rows.labels[int(rows.partition[0])]
        (row,) = self._snapshot.take(DOCUMENTS.label, label, rows.row.tolist(), ["key"]).to_pylist()
        return str(row["key"])
