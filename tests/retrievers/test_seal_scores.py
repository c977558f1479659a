"""Weights, cover and votes of SEAL against plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import seal_reference as reference
from hypothesis import given
from hypothesis import strategies as st
from seal_reference import make_keys

from mnemodex.indexers.ngram.ragged import Ragged
from mnemodex.retrievers.seal.keys import Kind, own_log_probability, weigh

KINDS = st.sampled_from(list(Kind))
TOKENS = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), TOKENS, st.floats(-60, 0), KINDS, st.integers(0, 900)), max_size=12),
    score=st.sampled_from(["lm", "lm_fm", "intersective"]),
)
def test_weights_are_those_of_the_formulas(rows, score):
    rows.sort(key=lambda row: row[0])
    counts = [row[4] for row in rows]
    keys = make_keys(*(row[:4] for row in rows))
    listed = reference.rows_of(keys)
    expected = [
        reference.weight(row, [other for other in listed if other[0] == row[0]], count, 1000, score)
        for row, count in zip(listed, counts, strict=True)
    ]
    np.testing.assert_allclose(weigh(keys, np.array(counts, np.int64), 1000, score), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("log_probability", [0.0, -1e-18, 1e-9])
def test_a_model_that_is_certain_gives_a_finite_weight(log_probability):
    keys = make_keys((0, (1,), log_probability, Kind.BODY), (0, (2,), -1e-5, Kind.BODY))
    certain, sure = weigh(keys, np.array([3, 3]), 1000, "lm_fm")
    assert math.isfinite(certain) and certain > sure


def test_a_key_that_is_the_whole_corpus_is_worth_nothing():
    keys = make_keys((0, (1,), -0.1, Kind.BODY))
    assert weigh(keys, np.array([1000]), 1000, "lm_fm").tolist() == [0.0]


def test_an_ngram_of_the_question_is_worth_its_tokens_together():
    counts, token_counts, offsets = np.array([40, 3]), np.array([40, 40, 7, 900]), np.array([0, 1, 4])
    thought = own_log_probability(counts, token_counts, offsets, 1000)
    keys = make_keys((0, (1,), thought[0], Kind.QUERY), (0, (1, 2, 3), thought[1], Kind.QUERY))
    single = [reference.odds(math.log(0.5), count, 1000) for count in token_counts]
    assert thought[0] == pytest.approx(math.log(0.5)) and single[3] == 0
    expected = [single[0] ** 2, (single[1] + single[2]) ** 2]
    np.testing.assert_allclose(weigh(keys, counts, 1000, "intersective"), expected)


def rank(keys, weights, *, together=True):
    from mnemodex.retrievers.seal.keys import RankedKeys

    counts = np.ones(len(keys), np.int64)
    return RankedKeys.of(keys, slice(0, len(keys)), np.array(weights, np.float64), counts, together=together)


WEIGHED = st.lists(st.tuples(TOKENS, KINDS, st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0])), max_size=14)
DOCUMENT = st.tuples(
    st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 5), max_size=30), st.integers(0, 30)
)


def in_order(weighed, *, together):
    """The weighed keys as the index ranks them, for ties that the reference breaks otherwise."""
    keys = make_keys(*((0, tokens, -1.0, kind) for tokens, kind, _ in weighed))
    ranked = rank(keys, [value for *_, value in weighed], together=together)
    rows = reference.rows_of(ranked_as_keys(ranked))
    listed = [(tokens, kind, value) for (_, tokens, _, kind), value in zip(rows, ranked.weights, strict=True)]
    return ranked, reference.ranked(listed, together=together)


def ranked_as_keys(ranked):
    from mnemodex.retrievers.seal.keys import Keys

    return Keys(np.zeros(len(ranked), np.int64), ranked.ngrams, np.zeros(len(ranked)), ranked.kind)


@given(weighed=WEIGHED, documents=st.lists(DOCUMENT, min_size=1, max_size=4), together=st.booleans())
def test_votes_are_those_of_the_greedy_search(weighed, documents, together):
    from mnemodex.retrievers.seal.kernels import score_chunks

    ranked, ordered = in_order(weighed, together=together)
    rows = []
    for number, (_, body, cut) in enumerate(documents):
        rows += [(number, 0, min(cut, len(body))), (number, min(cut, len(body)), len(body))]
    titles, bodies = (Ragged.of([np.array(document[field], np.int32) for document in documents]) for field in (0, 1))
    texts = titles.values.astype(np.int32), titles.offsets, bodies.values.astype(np.int32), bodies.offsets
    longest = int(ranked.ngrams.lengths.max(initial=0)) if together else 0
    question = ranked.trie, ranked.arrays, longest
    expected = [reference.votes(ordered, *documents[n][:2], start, stop, together=together) for n, start, stop in rows]
    for last in range(1, len(rows) + 1):
        voters, gains = np.empty(len(ranked), np.int64), np.empty(len(ranked))
        scores, stamps = np.empty(last), np.zeros(6, np.int64)
        count = score_chunks(question, texts, np.array(rows[:last], np.int64), stamps, (voters, gains), scores)
        np.testing.assert_allclose(scores, [sum(gain for *_, gain in some) for some in expected[:last]])
        listed = reference.rows_of(ranked_as_keys(ranked))
        assert [listed[key][1::2] for key in voters[:count]] == [key[:2] for key in expected[last - 1]]
        np.testing.assert_allclose(gains[:count], [gain for *_, gain in expected[last - 1]])


@given(weighed=WEIGHED, chosen=st.lists(st.sets(st.integers(0, 13)), max_size=4))
def test_a_document_found_by_several_keys_counts_new_tokens_more(weighed, chosen):
    from mnemodex.retrievers.seal.kernels import score_documents

    ranked, _ = in_order(weighed, together=True)
    ranks = [sorted(number for number in some if number < len(ranked)) for some in chosen]
    offsets = np.cumsum([0, *map(len, ranks)]).astype(np.int64)
    scores = np.zeros(len(ranks))
    flat = np.array([number for some in ranks for number in some], np.int64)
    score_documents(ranked.arrays, flat, offsets, np.zeros(6, np.int64), scores)
    listed = reference.rows_of(ranked_as_keys(ranked))
    keys = [(listed[number][1], listed[number][3], ranked.weights[number]) for number in range(len(ranked))]
    np.testing.assert_allclose(scores, [reference.provisional([keys[number] for number in some]) for some in ranks])


def test_keys_are_ordered_by_weight_then_length_with_unigrams_last():
    keys = make_keys(
        (0, (1,), -1.0, Kind.UNIGRAM),
        (0, (2,), -1.0, Kind.BODY),
        (0, (3, 4), -1.0, Kind.QUERY),
        (0, (5,), -1.0, Kind.TITLE),
        (0, (6,), -1.0, Kind.BODY),
    )
    weights = [9.0, 2.0, 2.0, 3.0, 0.0]
    assert [row[1] for row in reference.rows_of(ranked_as_keys(rank(keys, weights)))] == [(5,), (3, 4), (2,), (1,)]
    apart = rank(keys, weights, together=False)
    assert [row[1] for row in reference.rows_of(ranked_as_keys(apart))] == [(5,), (3, 4), (2,)]
    assert rank(keys, weights).finders.tolist() == [0, 1, 2]
