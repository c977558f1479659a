"""The n-gram index: every answer against looking at every token of every document, in two kinds of tokens."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from engines import InlineEngine
from library import records, write_parts
from tokenizer_models import byte_level, minilm, save

import mnemodex
from mnemodex.indexers.ngram.indexer import NgramIndexer
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.ngram.concordance import concordances
from mnemodex.schemas.errors import CorruptFileError, ModelError, QueryError

TOKENIZERS = {"minilm": minilm, "byte-level": byte_level}
PHRASES = [
    "The harbour",
    "harbour",
    "has",
    "lighthouse keeper climbs two hundred steps every evening",
    "Смотритель маяка",
    "港",
    "السفن",
    "किताबें",
    "slice of lemon cake.",
    "miles away. The",
    "xyzzy",
]


@pytest.fixture(scope="module", params=TOKENIZERS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    """A memory in two shards, next to the tokenizer's folder."""
    folder = tmp_path_factory.mktemp(kind)
    recipe = {
        "source": str(write_parts(folder / "source", records(), 3)),
        "memory": str(folder / "memory"),
        "chunks": {"by": "tokens", "size": 16, "overlap": 6},
        "indexes": {"ngrams": {"type": "ngram", "tokenizer": save(TOKENIZERS[kind](), folder / "model")}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        patch.setattr(NgramIndexer, "shard_rows", 40)
        mnemodex.build(recipe)
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    return mnemodex.open(folder / "memory")


@pytest.fixture(scope="module")
def index(opened):
    assert len(opened.snapshot.index("ngrams").shards) == 2
    return opened.retriever("ngrams")


class BruteForce:
    """Finds phrases by comparing the tokens at every place of every document."""

    def __init__(self, opened, tokenizer):
        self.tokenizer = tokenizer
        self.documents = opened.sql("SELECT doc_id, key, text FROM documents").to_arrow_table().to_pylist()
        self.encodings = [self.encode(document["text"]) for document in self.documents]
        self.chunks = {document["doc_id"]: [] for document in self.documents}
        columns = 'doc_id, chunk_id, start, "end"'
        for row in opened.sql(f"SELECT {columns} FROM chunks ORDER BY doc_id, ordinal").fetchall():
            self.chunks[row[0]].append(row[1:])

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def ngrams(self, phrase):
        """What a phrase may be in running text."""
        if not isinstance(phrase, str):
            return [list(phrase)]
        found = {tuple(self.encode(text).ids) for text in (phrase, f" {phrase}")}
        unknown = self.tokenizer.token_to_id("[UNK]")
        return [list(ngram) for ngram in found if unknown is None or unknown not in ngram]

    def places(self, phrase):
        """Document number, first token and tokens of each occurrence; what ends at one token is one occurrence."""
        ends = {}
        for number, encoding in enumerate(self.encodings):
            for ngram in sorted(self.ngrams(phrase), key=len, reverse=True):
                for place in range(len(encoding.ids) - len(ngram) + 1):
                    if encoding.ids[place : place + len(ngram)] == ngram:
                        ends[number, place + len(ngram)] = (number, place, len(ngram))
        return sorted(ends.values())

    def chunk(self, number, token):
        """The first chunk that covers the token's first character that is not a space."""
        text, (start, end) = self.documents[number]["text"], self.encodings[number].offsets[token]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        return next(
            chunk_id for chunk_id, low, high in self.chunks[self.documents[number]["doc_id"]] if low <= start < high
        )


@pytest.fixture(scope="module")
def brute(opened, kind):
    return BruteForce(opened, TOKENIZERS[kind]())


def by_phrase(found, *columns):
    """A result's columns as tuples, cut by phrase."""
    rows = list(zip(*(getattr(found, name).tolist() for name in columns), strict=True))
    return [rows[start:stop] for start, stop in pairwise(found.offsets.tolist())]


def test_counts(index, brute):
    expected = [len(brute.places(phrase)) for phrase in PHRASES]
    assert index.count(PHRASES).tolist() == expected
    assert expected[0] > 10 and expected[-1] == 0


def test_counts_are_those_of_the_text(index, brute, kind):
    flags = re.IGNORECASE if kind == "minilm" else 0
    for phrase in ("The harbour", "to the harbour", "A lighthouse keeper", "the keeper feeds", "two hundred steps"):
        texts = [document["text"] for document in brute.documents]
        written = sum(len(re.findall(rf"\b{phrase}\b", text, flags)) for text in texts)
        assert index.count([phrase]).tolist() == [written] and written


def test_token_ids_are_counted_as_they_are(index, brute):
    ngrams = [brute.encodings[0].ids[:3], brute.encodings[5].ids[2:4], [brute.encodings[7].ids[0]]]
    expected = [len(brute.places(ngram)) for ngram in ngrams]
    assert index.count(ngrams).tolist() == expected and min(expected) > 0


@pytest.mark.parametrize("limit", [None, 1, 4, 1000])
def test_places_are_the_first_ones_in_order(index, brute, limit):
    found = by_phrase(index.locate(PHRASES, limit=limit), "documents", "tokens", "lengths")
    assert found == [brute.places(phrase)[:limit] for phrase in PHRASES]


def test_a_place_belongs_to_the_first_chunk_that_covers_its_start(index, brute):
    found = by_phrase(index.locate(PHRASES), "chunk_ids")
    for phrase, chunks in zip(PHRASES, found, strict=True):
        assert [chunk for (chunk,) in chunks] == [
            brute.chunk(number, token) for number, token, _ in brute.places(phrase)
        ]


def test_documents(index, brute):
    found = by_phrase(index.documents(PHRASES), "doc_ids", "counts")
    for phrase, counts in zip(PHRASES, found, strict=True):
        expected = Counter(brute.documents[number]["doc_id"] for number, _, _ in brute.places(phrase))
        assert dict(counts) == expected and len(counts) == len(expected)


def test_continuations(index, brute):
    result = index.continuations(PHRASES)
    for phrase, found in zip(PHRASES, by_phrase(result, "tokens", "counts"), strict=True):
        ids = [brute.encodings[number].ids[token + length :][:1] for number, token, length in brute.places(phrase)]
        expected = Counter(token for some in ids for token in some)
        assert found == sorted(expected.items(), key=lambda pair: (-pair[1], pair[0]))
    assert [text.strip() for text in result.texts[:1]] == ["has"]


def test_hits_are_the_chunks_in_which_a_phrase_begins(index, brute):
    hits = index.search(PHRASES, 60)
    for number, phrase in enumerate(PHRASES):
        counts = Counter(brute.chunk(document, token) for document, token, _ in brute.places(phrase))
        expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        found = hits.ids[number] >= 0
        assert list(zip(hits.ids[number][found], hits.scores[number][found], strict=True)) == expected[:60]
    assert hits.scores[0, 0] > 1


def test_context_is_the_text_around_each_occurrence(index, opened, brute, kind):
    texts = {document["key"]: document["text"] for document in brute.documents}
    for phrase, answer in zip(PHRASES, concordances(index, opened.snapshot, PHRASES, 300, most=50), strict=True):
        assert sum(chunk.count for chunk in answer) == len(brute.places(phrase))
        for chunk in answer:
            assert len(chunk.occurrences) == chunk.count
            for found in chunk.occurrences:
                text = texts[chunk.key]
                assert text[found.start : found.end] == found.phrase
                assert found.phrase.casefold() == phrase.casefold() if kind == "minilm" else found.phrase == phrase
                assert f"{found.before} {found.phrase}".strip() in " ".join(text[: found.end].split())
                assert " ".join(text[found.end :].split()).startswith(found.after)


def test_context_is_cut_to_some_words_and_occurrences(index, opened):
    ((first,),) = concordances(index, opened.snapshot, ["has"], 1, most=1)
    assert first.count > len(first.occurrences) == 1
    assert len(first.occurrences[0].before.split()) <= 8


def test_a_phrase_longer_than_any_document_occurs_nowhere(index):
    phrase = "harbour " * 3000
    assert index.count([phrase]).tolist() == [0]
    assert (index.search([phrase], 3).ids == -1).all()
    assert len(index.continuations([phrase]).tokens) == len(index.locate([phrase]).tokens) == 0


@pytest.mark.parametrize("method", ["count", "locate", "continuations", "documents"])
@pytest.mark.parametrize("phrases", [["harbour", ""], ["harbour", " \n"], [[1, 2], []]])
def test_an_empty_ngram_is_refused_by_its_number(index, method, phrases):
    with pytest.raises(QueryError, match="phrase 1 has no token"):
        getattr(index, method)(phrases)


@pytest.mark.parametrize("method", ["count", "locate", "continuations", "documents"])
def test_a_token_id_outside_the_vocabulary_is_refused(index, method):
    with pytest.raises(ModelError, match="99999"):
        getattr(index, method)([[5], [5, 99999]])


def test_no_phrases_give_no_answers(index):
    assert index.count([]).tolist() == []
    assert index.locate([]).offsets.tolist() == index.continuations([]).offsets.tolist() == [0]


def test_a_limit_below_one_is_refused(index):
    with pytest.raises(QueryError, match="limit is 0"):
        index.locate(["harbour"], limit=0)


def test_another_tokenizer_is_refused(folder, kind):
    file = folder / "model" / "tokenizer.json"
    former = file.read_bytes()
    try:
        save({"minilm": byte_level, "byte-level": minilm}[kind](), folder / "model")
        with pytest.raises(ModelError, match="index 'ngrams' was built with another tokenizer"):
            mnemodex.open(folder / "memory").retriever("ngrams")
    finally:
        file.write_bytes(former)


@pytest.mark.parametrize("name", ["bits.npy", "shard.json", "first_tokens.npy", "row.npy"])
def test_a_file_cut_short_is_named(folder, name):
    path = sorted((folder / "memory/indexes/ngrams").rglob(name))[0]
    data = path.read_bytes()
    try:
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(CorruptFileError, match=re.escape(str(path))):
            mnemodex.open(folder / "memory").retriever("ngrams")
    finally:
        path.write_bytes(data)


def test_phrases_are_counted_in_sql(opened, index):
    rows = opened.sql(
        "SELECT t, ngram_count('ngrams', t) FROM (VALUES ('The harbour'), (NULL), ('xyzzy'), ('The harbour')) v(t)"
    ).fetchall()
    count = int(index.count(["The harbour"])[0])
    assert rows == [("The harbour", count), (None, None), ("xyzzy", 0), ("The harbour", count)]
    assert opened.sql("SELECT ngram_count(NULL, 'The harbour')").fetchall() == [(None,)]


def test_every_title_is_counted_in_sql(opened, index):
    rows = opened.sql("SELECT title, ngram_count('ngrams', title) FROM documents WHERE title <> ''").fetchall()
    assert [count for _, count in rows] == index.count([title for title, _ in rows]).tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("'words', 'a'", "no n-gram index 'words'; there are: ngrams"),
        ("'ngrams', repeat('a b ', 300000)", "a text of 1200000 characters is longer than 1000000"),
    ],
)
def test_what_sql_cannot_count_is_told(opened, call, message):
    with pytest.raises(QueryError, match=message):
        opened.sql(f"SELECT ngram_count({call})")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u200b", "\u00a0"])
def test_a_text_without_a_token_is_nowhere_and_fails_no_other_row(opened, index, blank):
    rows = opened.sql(f"SELECT ngram_count('ngrams', t) FROM (VALUES ('The harbour'), ('{blank}')) v(t)").fetchall()
    assert rows == [(int(index.count(["The harbour"])[0]),), (0,)]


def test_a_filter_keeps_the_order(index, opened):
    full, kept = index.search(["has"], 100), index.search(["has"], 100, where="ordinal > 0")
    allowed = np.isin(full.ids[0], opened.ids_where("ordinal > 0"))
    assert kept.ids[0][: allowed.sum()].tolist() == full.ids[0][allowed].tolist()
    assert (kept.ids[0][allowed.sum() :] == -1).all()
