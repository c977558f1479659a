from __future__ import annotations

import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnemodex.indexers.ngram import BuildOptions, FMIndex, Ragged, Vocabulary, build
from mnemodex.schemas.errors import ModelError, QueryError


def make_index(folder, documents, vocabulary, shards=1, **options):
    """An index whose shards are built one by one, each from its part of the documents."""
    folders = []
    for number, part in enumerate(np.array_split(np.arange(len(documents)), shards)):
        rows = Ragged.of([documents[i] for i in part])
        build([{"body": rows}], folder / str(number), vocabulary, options=BuildOptions(**options))
        folders.append(folder / str(number) / "00000" / "body")
    return FMIndex(folders)


def rows_of(result):
    """A result's columns, cut by query."""
    offsets, *columns = (column.tolist() for column in result)
    return [list(zip(*(column[start:stop] for column in columns), strict=True)) for start, stop in pairwise(offsets)]


class BruteForce:
    """Every answer by looking at every position of every document."""

    def __init__(self, documents):
        self.documents = documents
        self.text = np.concatenate([np.append(document, -1) for document in documents])
        ends = np.cumsum([len(document) + 1 for document in documents])
        self.document = np.repeat(np.arange(len(documents)), np.diff(ends, prepend=0))
        self.position = np.arange(len(self.text)) - np.append(0, ends)[self.document]

    def places(self, ngram):
        length = len(ngram)
        if length > len(self.text):
            return np.empty(0, dtype=np.int64)
        windows = np.lib.stride_tricks.sliding_window_view(self.text, length)
        return np.flatnonzero(np.all(windows == np.asarray(ngram), axis=1))

    def locate(self, ngram):
        places = self.places(ngram)
        return list(zip(self.document[places].tolist(), self.position[places].tolist(), strict=True))

    def documents_with(self, ngram):
        return sorted(Counter(self.document[self.places(ngram)].tolist()).items())

    def ends(self, ngram):
        return int(np.sum(self.text[self.places(ngram) + len(ngram)] < 0))

    def continuations(self, ngram):
        following = self.text[self.places(ngram) + len(ngram)]
        return sorted(Counter(following[following >= 0].tolist()).items())


def assert_whole_documents_are_counted(index, documents):
    """From the starts of documents, the tokens of one lead to as many ends as there are documents of just these."""
    short = [document for document in documents if len(document) < 60]
    ranges = index.starts(len(short))
    for place in range(max(map(len, short), default=0)):
        longer = [number for number, document in enumerate(short) if len(document) > place]
        ranges[longer] = index.step(ranges[longer], [short[number][place] for number in longer])
    same = Counter(tuple(document.tolist()) for document in documents)
    assert index.ends(ranges).tolist() == [same[tuple(document.tolist())] for document in short]


def assert_rows_equal(found, expected):
    assert found.lengths.tolist() == [len(row) for row in expected]
    assert found.values.tolist() == np.concatenate(expected).tolist()


@st.composite
def corpora(draw):
    """Documents over alphabets of 1 to 100,000 symbols whose token ids have gaps; some empty, short, or repetitive."""
    size = draw(st.sampled_from([1, 2, 2, 3, 30_000, 100_000]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    vocabulary = np.arange(size) * draw(st.integers(1, 3)) + draw(st.integers(0, 2))
    used = vocabulary[: draw(st.sampled_from([size, min(size, 3)]))]
    documents = []
    for kind in draw(st.lists(st.sampled_from(["empty", "one", "random", "period", "again"]), min_size=5, max_size=20)):
        if kind == "again" and documents:
            documents.append(documents[random.integers(len(documents))])
        elif kind == "period":
            documents.append(np.resize(random.choice(used, size=random.integers(1, 5)), random.integers(1, 80)))
        else:
            length = {"empty": 0, "one": 1}.get(kind, int(random.integers(2, 60)))
            documents.append(random.choice(used, size=length))
    return vocabulary, documents


def ngrams_of(documents, vocabulary, random):
    """N-grams that occur, of 1 to 6 tokens or a whole document, and some that may not."""
    filled = [document for document in documents if len(document)]
    ngrams = [random.choice(vocabulary, size=length) for length in (1, 2, 3)]
    for _ in range(8 if filled else 0):
        document = filled[random.integers(len(filled))]
        start = random.integers(len(document))
        ngrams.append(document[start : start + random.integers(1, 7)])
        ngrams.append(np.append(document[start : start + 2], random.choice(vocabulary)))
    ngrams.extend(document for document in filled[:2] if len(document) < 100)
    return ngrams


@settings(max_examples=60, deadline=None)
@given(
    corpus=corpora(),
    shards=st.integers(1, 5),
    document_array=st.booleans(),
    sample_rate=st.sampled_from([1, 3, 32]),
    limit=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
@example((np.arange(1), [np.array([], dtype=np.int64)] * 5), 5, True, 32, 1, 0)
@example((np.arange(100_000), np.array_split(np.random.default_rng(0).permutation(100_000), 3)), 1, True, 32, 1, 0)
def test_every_answer_is_that_of_brute_force_whatever_the_shards(
    corpus, shards, document_array, sample_rate, limit, seed
):
    vocabulary, documents = corpus
    ngrams = ngrams_of(documents, vocabulary, np.random.default_rng(seed))
    brute = BruteForce(documents)
    with tempfile.TemporaryDirectory() as folder:
        index = make_index(
            Path(folder), documents, vocabulary, shards, document_array=document_array, sample_rate=sample_rate
        )
        occurrences = [brute.locate(ngram) for ngram in ngrams]
        assert index.count(ngrams).tolist() == [len(places) for places in occurrences]
        assert rows_of(index.locate(ngrams)) == occurrences
        assert rows_of(index.locate(ngrams, limit=limit)) == [places[:limit] for places in occurrences]
        assert rows_of(index.documents(ngrams)) == [brute.documents_with(ngram) for ngram in ngrams]
        assert index.ends(index.ranges(ngrams)).tolist() == [brute.ends(ngram) for ngram in ngrams]
        assert_whole_documents_are_counted(index, documents)
        asked = np.random.default_rng(seed).integers(0, len(documents), len(documents) + 3)
        assert_rows_equal(index.tokens(asked), [documents[number] for number in asked])
        followed = rows_of(index.continuations(index.ranges(ngrams)))
        assert followed == [brute.continuations(ngram) for ngram in ngrams]


@pytest.fixture(scope="module")
def repetitive(tmp_path_factory):
    """Three shards of two-letter documents, and the documents."""
    random = np.random.default_rng(3)
    documents = [random.integers(10, 12, size=length) for length in random.integers(0, 30, size=50)]
    return make_index(tmp_path_factory.mktemp("repetitive"), documents, np.arange(5, 20), 3), documents


def test_the_empty_range_is_continued_by_every_token_as_often_as_it_occurs(repetitive):
    index, documents = repetitive
    counts = Counter(np.concatenate(documents).tolist())
    assert rows_of(index.continuations(index.whole(2))) == [sorted(counts.items())] * 2
    assert index.token_count == sum(counts.values())
    assert index.document_count == len(documents)


def test_steps_one_by_one_give_the_ranges_of_the_whole_ngrams(repetitive):
    index, documents = repetitive
    ngrams = np.array([document[:5] for document in documents if len(document) >= 5] + [[10, 11, 15, 10, 10]])
    ranges = index.whole(len(ngrams))
    for column in range(5):
        ranges = index.step(ranges, ngrams[:, column])
    np.testing.assert_array_equal(ranges, index.ranges(ngrams))
    assert (ranges[-1] == 0).all()


def test_a_step_leaves_the_ranges_it_was_given_as_they_were(repetitive):
    index, _ = repetitive
    ranges = index.ranges([[10], [11]])
    before = ranges.copy()
    index.step(ranges, [11, 11])
    np.testing.assert_array_equal(ranges, before)


def test_what_continuations_lack_are_the_ends_of_documents(repetitive):
    index, documents = repetitive
    ranges = index.ranges([[10]])
    ends = sum(len(document) > 0 and document[-1] == 10 for document in documents)
    assert index.count([[10]])[0] - index.continuations(ranges).counts.sum() == ends


def test_no_ngram_spans_two_documents(tmp_path):
    index = make_index(tmp_path, [[1, 2], [3, 4]], range(5))
    assert index.count([[1, 2], [2, 3], [3, 4], [1, 2, 3]]).tolist() == [1, 0, 1, 0]


def test_many_wide_ranges_are_cut_into_parts_that_fit_together_again(tmp_path, monkeypatch):
    random = np.random.default_rng(8)
    documents = [random.integers(0, 40, size=200) for _ in range(20)]
    index = make_index(tmp_path, documents, range(40), 2)
    ngrams = np.arange(40)[:, None]
    whole = [index.locate(ngrams), index.documents(ngrams), index.continuations(index.ranges(ngrams))]
    monkeypatch.setattr("mnemodex.indexers.ngram.ragged._ROOM", 150)
    cut = [index.locate(ngrams), index.documents(ngrams), index.continuations(index.ranges(ngrams))]
    for one, other in zip(whole, cut, strict=True):
        for column, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(column, same)


def test_the_answer_to_no_question_is_empty(repetitive):
    index, _ = repetitive
    assert index.count([]).tolist() == []
    assert rows_of(index.locate([])) == rows_of(index.documents([])) == []
    assert rows_of(index.continuations(index.step(index.whole(0), []))) == []


def test_document_numbers_lead_to_the_shard_and_its_own_number(repetitive):
    index, documents = repetitive
    shards, local = index.shards_of(np.arange(len(documents)))
    sizes = [shard.documents for shard in index.shards]
    assert shards.tolist() == np.repeat([0, 1, 2], sizes).tolist()
    assert local.tolist() == [number for size in sizes for number in range(size)]


def test_an_ngram_longer_than_any_document_does_not_occur(repetitive):
    index, _ = repetitive
    assert index.count([[10] * 1000]).tolist() == [0]


@pytest.mark.parametrize("token", [-1, 4, 20, 2**40])
def test_a_token_id_outside_the_vocabulary_is_named(repetitive, token):
    index, _ = repetitive
    with pytest.raises(ModelError, match=f"row 1 has the token id {token} at 2"):
        index.count([[10], [10, 11, token]])
    with pytest.raises(ModelError, match=f"token id {token}"):
        index.step(index.whole(1), [token])


@pytest.mark.parametrize("method", ["count", "ranges", "locate", "documents"])
def test_an_empty_ngram_is_refused(repetitive, method):
    with pytest.raises(QueryError, match="n-gram 1 is empty"):
        getattr(repetitive[0], method)([[10], []])


@pytest.mark.parametrize("ngrams", [[10, 11], [[1.5, 2.0]], [["ten"]], [[[10]]]])
def test_ngrams_that_are_no_lists_of_integers_are_refused(repetitive, ngrams):
    with pytest.raises(QueryError, match="token ids"):
        repetitive[0].count(ngrams)


def test_a_limit_below_one_is_refused(repetitive):
    with pytest.raises(QueryError, match="limit is 0"):
        repetitive[0].locate([[10]], limit=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda ranges: ranges + 10**6,
        lambda ranges: ranges[:, :, ::-1],
        lambda ranges: ranges - 1,
        lambda ranges: ranges[:, :1],
    ],
    ids=["beyond", "turned round", "negative", "one shard only"],
)
def test_ranges_of_another_index_are_refused(repetitive, change):
    index, _ = repetitive
    with pytest.raises(QueryError, match="ranges"):
        index.continuations(np.ascontiguousarray(change(index.ranges([[10], [15]]))))


@pytest.mark.parametrize("number", [-1, 50])
def test_a_document_that_is_not_there_is_named(repetitive, number):
    index, _ = repetitive
    with pytest.raises(QueryError, match=f"no document {number}: the index's are numbered from 0 to 49"):
        index.tokens(np.array([3, number]))


def test_ranges_are_extended_by_whole_ngrams(repetitive):
    index, documents = repetitive
    some = [document for document in documents if len(document) > 4][:9]
    ranges = index.extend(index.ranges([document[:2] for document in some]), [document[2:5] for document in some])
    np.testing.assert_array_equal(ranges, index.ranges([document[:5] for document in some]))
    np.testing.assert_array_equal(index.extend(ranges, [[]] * 9), ranges)
    with pytest.raises(QueryError, match="9 ranges, but 1 n-grams"):
        index.extend(ranges, [[10]])


def test_documents_that_begin_alike_are_those_of_the_extended_starts(repetitive):
    index, documents = repetitive
    found = rows_of(index.documents_of(index.extend(index.starts(2), [[10, 11], [15]])))
    assert found == [[(n, 1) for n, row in enumerate(documents) if row[:2].tolist() == [10, 11]], []]


def test_a_step_needs_one_token_a_range(repetitive):
    index, _ = repetitive
    with pytest.raises(QueryError, match="2 ranges"):
        index.step(index.whole(2), [10])


@pytest.mark.parametrize("ids", [[], [1.0], [1, 1], [-1], [2**40], [[1]]])
def test_a_vocabulary_is_a_list_of_different_token_ids(ids):
    with pytest.raises(ModelError):
        Vocabulary(ids)


def test_an_index_without_a_shard_is_refused():
    with pytest.raises(QueryError, match="at least one shard"):
        FMIndex([])
