"""Length-bucketed batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.text import MAX_PADDING, length_buckets


@given(
    lengths=st.lists(st.integers(0, 600), max_size=200),
    max_tokens=st.integers(1, 4096),
    min_rows=st.integers(1, 16),
)
def test_every_text_is_in_one_batch_and_batches_keep_their_bounds(lengths, max_tokens, min_rows):
    array = np.array(lengths, np.int64)
    batches = list(length_buckets(array, max_tokens=max_tokens, min_rows=min_rows))
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(len(lengths)))
    for rows in batches:
        longest = max(int(array[rows].max()), 1)
        assert len(rows) * longest <= max_tokens or len(rows) == 1
        padded, real = len(rows) * longest, int(array[rows].sum())
        assert padded <= MAX_PADDING * real or len(rows) <= min_rows


@given(lengths=st.lists(st.integers(0, 600), min_size=1, max_size=200))
def test_the_longest_texts_come_first(lengths):
    array = np.array(lengths, np.int64)
    batches = list(length_buckets(array, max_tokens=2048))
    heads = [int(array[rows].max()) for rows in batches]
    assert heads == sorted(heads, reverse=True) and heads[0] == max(lengths)


def test_texts_of_one_length_fill_the_batch():
    batches = list(length_buckets(np.full(100, 64), max_tokens=1024))
    assert [len(rows) for rows in batches] == [16] * 6 + [4]


def test_no_texts_give_no_batches():
    assert list(length_buckets(np.zeros(0, np.int64), max_tokens=100)) == []


def test_little_work_is_padding():
    """Passages of like spread as real ones: log-normal around 64 tokens."""
    lengths = np.clip(np.random.default_rng(3).lognormal(4.2, 0.7, 512), 3, 512).astype(np.int64)
    batches = list(length_buckets(lengths, max_tokens=4096))
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert padded < 1.15 * lengths.sum()
