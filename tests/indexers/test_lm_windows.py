"""Windows over texts of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.lm.reader import windows
from mnemodex.schemas.errors import ModelError


@st.composite
def cuts(draw):
    """Lengths of texts, a window, an overlap and a prefix that go together."""
    window = draw(st.integers(2, 24))
    overlap = draw(st.integers(1, window - 1))
    return draw(st.lists(st.integers(0, 90), max_size=8)), window, overlap, draw(st.integers(0, min(3, window - 1)))


def by_hand(length, window, overlap, prefix):
    """The windows of one text, token by token."""
    found, predicted = [], 0 if prefix else 1
    while predicted < length:
        if not found:
            start = 0
        else:
            # What the window before has read, the last of it; the last token that it predicted it has not read.
            read = list(range(found[-1][0], found[-1][2] - 1))
            start = read[len(read) - max(0, overlap - prefix) :][0] if overlap > prefix else read[-1] + 1
        stop = start
        while stop < length and prefix + (stop + 1 - start) - 1 <= window:
            stop += 1
        found.append((start, predicted, stop))
        predicted = stop
    return found


@given(cuts())
def test_windows_are_those_that_a_plain_loop_cuts(cut):
    lengths, window, overlap, prefix = cut
    made = windows(np.array(lengths, np.int64), window=window, overlap=overlap, prefix=prefix)
    expected = [(text, *one) for text, length in enumerate(lengths) for one in by_hand(length, window, overlap, prefix)]
    arrays = (made.text, made.start, made.first, made.stop)
    assert list(zip(*(array.tolist() for array in arrays), strict=True)) == expected
    assert len(made) == len(expected) and all(array.dtype == np.int64 for array in arrays)
    assert made.predicted.tolist() == [stop - first for _, _, first, stop in expected]


@given(cuts())
def test_every_token_is_predicted_once_with_enough_before_it(cut):
    lengths, window, overlap, prefix = cut
    made = windows(np.array(lengths, np.int64), window=window, overlap=overlap, prefix=prefix)
    seen = [[0] * length for length in lengths]
    for text, start, first, stop in zip(made.text, made.start, made.first, made.stop, strict=True):
        assert prefix + (stop - start) - 1 <= window
        assert start < first < stop or (prefix and start == first == 0 < stop)
        for token in range(first, stop):
            seen[text][token] += 1
            assert prefix + token - start >= min(overlap, prefix + token)
    for counts in seen:
        assert counts == [1 if prefix else 0] * min(1, len(counts)) + [1] * (len(counts) - 1)


def test_a_text_that_fits_is_one_window():
    made = windows(np.array([1025, 1026, 1, 0]), window=1024, overlap=256, prefix=0)
    assert made.text.tolist() == [0, 1, 1] and made.start.tolist() == [0, 0, 768]
    assert made.first.tolist() == [1, 1, 1025] and made.stop.tolist() == [1025, 1025, 1026]


def test_no_texts_have_no_windows():
    assert len(windows(np.zeros(0, np.int64), window=8, overlap=2, prefix=1)) == 0


def test_a_prefix_that_fills_the_window_is_told():
    with pytest.raises(ModelError, match="puts 4 tokens before every text, and `window` is 4: make it larger"):
        windows(np.array([10]), window=4, overlap=1, prefix=4)
