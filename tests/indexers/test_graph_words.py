"""Words of texts in any script, and in how many passages they are."""

# ruff: noqa: RUF001 (full-width marks are what is tested)
from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.graph.words import WordCounts, forms, split
from mnemodex.schemas.errors import CorruptFileError

TEXTS = st.lists(st.text(st.sampled_from("aB é9_-.\n中文字かなश्री서울"), max_size=30), max_size=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Who wrote Émile's 2nd book?", ["who", "wrote", "émile", "s", "2nd", "book"]),
        ("snake_case", ["snake", "case"]),
        ("Лев Толстой", ["лев", "толстой"]),
        ("महात्मा गांधी", ["महात्मा", "गांधी"]),
        ("北京大学在", ["北京", "京大", "大学", "学在"]),
        ("山 NHK山口", ["山", "nhk", "山口"]),
        ("서울은", ["서울", "울은"]),
        ("ＡＢＣ", ["abc"]),
        ("", []),
    ],
)
def test_words_are_found_in_every_script(text, words):
    assert [word.form for word in split(text)] == words


@given(TEXTS)
def test_words_lie_where_they_say(texts):
    for text in texts:
        words = split(text)
        assert all(forms(text[word.start : word.end]) == {word.form} for word in words)
        assert forms(text) == {word.form for word in words}
        assert [word.start for word in words] == sorted(word.start for word in words)


@given(TEXTS, TEXTS)
def test_counts_are_passages_that_hold_a_word(first, second):
    counts = WordCounts.sum([WordCounts.of(first), WordCounts.of(second)])
    whole = WordCounts.of([*first, *second])
    assert counts.passages == whole.passages == len(first) + len(second)
    np.testing.assert_array_equal(counts.hashes, whole.hashes)
    np.testing.assert_array_equal(counts.counts, whole.counts)
    plain = Counter(form for text in [*first, *second] for form in forms(text))
    weights = whole.weight([*plain, "nowhere"])
    for word, weight in weights.items():
        assert weight == pytest.approx(math.log((whole.passages + 1) / (plain[word] + 0.5)))
        assert weight > 0


def test_counts_are_mapped_from_their_files(tmp_path):
    counts = WordCounts.of(["the cat", "the dog"])
    counts.save(tmp_path)
    opened = WordCounts.open(tmp_path)
    assert opened.weight(["the", "cat", "cow"]) == counts.weight(["the", "cat", "cow"])
    np.save(tmp_path / "word_counts.npy", np.zeros(2, np.int64))
    with pytest.raises(CorruptFileError, match="build again"):
        WordCounts.open(tmp_path)
