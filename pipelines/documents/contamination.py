"""Documents that share n-grams of words with the questions and answers of an evaluation."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from mnemodex.indexers.scripts import bound_marks, letters, word_pattern
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.changes import Deletion
from mnemodex.pipelines.sources.base import Record
from mnemodex.retrievers.queries import find_beir, read_queries
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.indexers.arrays import Int32s, Int64s, Uint64s
    from mnemodex.schemas.source_sections import Decontamination

_ASCII = re.compile(r"[a-z0-9]+")
_BATCH = 64
"""Documents that are compared at once."""
_R = TypeVar("_R", bound="Record | Deletion | BadRow")
_BASE = np.uint64(0x9E3779B97F4A7C15)


class Shared(NamedTuple):
    """What a document shares with an evaluation: the n-gram, in its words, and the query and its file."""

    ngram: str
    query: str
    file: str


class EvaluationTexts:
    """The n-grams of words of all questions and answers of query files.

    Words are runs of letters and digits in lower case, without punctuation, as GPT-3's authors compare texts (Brown et
    al., 2020, appendix C); of scripts without spaces they are single letters. N-grams are found by their hashes and
    then compared word by word.

    Attributes:
        n: words of an n-gram.
        texts: questions and answers.
        short: those of fewer words, which have no n-gram.

    Raises:
        QueryError: a file is missing or no query file, or no text of the files has so many words.
    """

    def __init__(self, settings: Decontamination) -> None:
        self.n = settings.n
        self.texts = self.short = 0
        self._vocabulary: dict[str, int] = {}
        self._origins: list[tuple[str, str]] = []
        rows, owners = [np.zeros((0, self.n), np.int32)], [np.zeros(0, np.int32)]
        for file, query, text in _texts(settings.files):
            words = [self._vocabulary.setdefault(word, len(self._vocabulary)) for word in split_words(text)]
            self.texts += 1
            if len(words) < self.n:
                self.short += 1
                continue
            windows = np.lib.stride_tricks.sliding_window_view(np.array(words, np.int32), self.n)
            rows.append(windows)
            owners.append(np.full(len(windows), len(self._origins), np.int32))
            self._origins.append((query, Path(file).name))
        if not self._origins:
            raise QueryError(
                f"{settings.files[0]}: none of the {self.texts} questions and answers has {self.n} words; give "
                "`source.decontaminate` a smaller n, as {files: [FILE], n: 8}"
            )
        self._find_by_hash(np.concatenate(rows), np.concatenate(owners))

    def _find_by_hash(self, ngrams: Int32s, owners: Int32s) -> None:
        # Of several texts with one n-gram, the first is named.
        ngrams, first = np.unique(ngrams, axis=0, return_index=True)
        hashes = _hash(ngrams.astype(np.int64).T)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._ngrams, self._owners = hashes[order], ngrams[order], owners[first][order]

    def find(self, documents: Sequence[Sequence[str]]) -> list[Shared | None]:
        """Return, of each document's texts, the first n-gram that is one of the evaluation's; None without one."""
        found: list[Shared | None] = [None] * len(documents)
        words: list[str] = []
        sizes = []
        for texts in documents:
            before = len(words)
            for text in texts:
                words += split_words(text)
                # No n-gram goes beyond a text.
                words.append("")
            sizes.append(len(words) - before)
        ids = np.fromiter(map(self._vocabulary.get, words, repeat(-1)), np.int64, len(words))
        owner = np.repeat(np.arange(len(documents)), sizes)
        for place in self._places(ids):
            number = owner[place]
            row = self._row(ids[place : place + self.n]) if found[number] is None else -1
            if row >= 0:
                found[number] = Shared(" ".join(words[place : place + self.n]), *self._origins[self._owners[row]])
        return found

    def _places(self, ids: Int64s) -> Iterator[int]:
        """Yield where n-grams begin whose hash is that of one of the evaluation's; -1 is a word that none of it has."""
        unknown = np.append(0, np.cumsum(ids < 0))
        places = np.flatnonzero(unknown[self.n :] == unknown[: -self.n])
        if len(places):
            hashes = _hash([ids[places + number] for number in range(self.n)])
            found = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            yield from places[self._hashes[found] == hashes].tolist()

    def _row(self, ngram: Int64s) -> int:
        """Return the row of an n-gram; -1 where it is none of the evaluation's."""
        (hashed,) = _hash([ngram[number : number + 1] for number in range(self.n)])
        begin, end = (int(np.searchsorted(self._hashes, hashed, side)) for side in ("left", "right"))
        same = np.flatnonzero((self._ngrams[begin:end] == ngram).all(axis=1))
        return begin + int(same[0]) if len(same) else -1


def clean(
    records: Iterable[Record | Deletion | BadRow],
    evaluation: EvaluationTexts,
    contaminated: list[BadRow],
    *,
    changes: bool,
) -> Iterator[Record | Deletion | BadRow]:
    """Yield records without those that share words with an evaluation, which are added to `contaminated`.

    With `changes` the records are those of the change log: a contaminated one becomes a deletion there, so that the
    version of the document that it replaced does not come back.
    """
    for record, shared in share(records, evaluation):
        if not isinstance(record, Record) or shared is None:
            yield record
            continue
        contaminated.append(contaminated_row(record, shared, evaluation.n))
        if changes:
            yield Deletion(record.key)


def share(records: Iterable[_R], evaluation: EvaluationTexts) -> Iterator[tuple[_R, Shared | None]]:
    """Yield what is read of a source, each with what it shares with an evaluation; None for rows without texts."""
    rows = iter(records)
    while batch := list(islice(rows, _BATCH)):
        texts = [(row.title, row.text) if isinstance(row, Record) else () for row in batch]
        yield from zip(batch, evaluation.find(texts), strict=True)


def contaminated_row(record: Record, shared: Shared, n: int) -> BadRow:
    """Return the row of `errors` of a document that is left out."""
    reason = f"shares {n} {'word' if n == 1 else 'words in a row'} with query {shared.query!r} of {shared.file}"
    return BadRow.of(record.source, record.line, reason, shared.ngram)


def count_documents(count: int) -> str:
    """Return a number of documents in words."""
    return f"{count} document{'' if count == 1 else 's'}"


def split_words(text: str) -> list[str]:
    """Return the words of a text; see `EvaluationTexts`."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    folded = unicodedata.normalize("NFKC", bound_marks(text)).lower()
    words: list[str] = []
    for match in word_pattern().finditer(folded):
        words += letters(match[0]) if match["run"] else [match[0]]
    return words


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield file, query and text of every question and answer."""
    for file in files:
        path = Path(file)
        for query in read_queries(find_beir(path)[0] if path.is_dir() else path):
            yield from ((file, query.id, text) for text in (query.question, *query.answers))


def _hash(columns: Sequence[Int64s] | Int64s) -> Uint64s:
    """Hash n-grams, given by their words' numbers, a column for each word."""
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        hashes = hashes * _BASE + column.astype(np.uint64) + np.uint64(1)
        hashes ^= hashes >> np.uint64(31)
    return hashes
