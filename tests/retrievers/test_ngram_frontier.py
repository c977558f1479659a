"""What a decoder asks an index at each step: the same answers as the index's own, and the best of many scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.ngram import FMIndex, Ragged, build
from mnemodex.retrievers.ngram import corpus as module
from mnemodex.retrievers.ngram.corpus import Frontier
from mnemodex.retrievers.seal.kernels import best_of_each


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("index"), np.random.default_rng(0)
    paths = []
    for number in range(2):
        documents = [random.integers(0, 30, size=50) for _ in range(40)]
        build([{"body": Ragged.of(documents)}], folder / str(number), range(40))
        paths.append(folder / str(number) / "00000" / "body")
    return FMIndex(paths)


def ranges_of(index):
    """Wide and narrow ranges, empty ones and equal ones."""
    ngrams = [[token] for token in range(34)] + [[token, token + 1] for token in range(20)] + [[1], [1], [2, 3]]
    return np.concatenate([index.whole(3), index.ranges(ngrams), index.starts(2)])


@pytest.mark.parametrize("kept", [1 << 22, 40, 0])
def test_continuations_are_the_indexs_whatever_is_remembered(index, monkeypatch, kept):
    monkeypatch.setattr(module, "_WIDE", 60)
    monkeypatch.setattr(module, "_KEPT", kept)
    made, ranges = Frontier(index), ranges_of(index)
    random = np.random.default_rng(1)
    for _ in range(4):
        asked = ranges[random.integers(0, len(ranges), size=random.integers(0, 60))]
        for found, expected in zip(made.continuations(asked), index.continuations(asked), strict=True):
            assert found.tolist() == expected.tolist()


def test_a_wide_range_is_looked_up_once(index, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_WIDE", 60)
    made, own = Frontier(index), index.continuations
    monkeypatch.setattr(index, "continuations", lambda ranges: asked.append(len(ranges)) or own(ranges))
    for _ in range(3):
        made.continuations(np.concatenate([index.whole(2), index.ranges([[1, 2]] * 3)]))
    assert asked == [2, 1, 1]


@given(
    groups=st.lists(st.lists(st.sampled_from([0.0, 1.5, -2.0, 3.25, -np.inf]), max_size=12), max_size=6),
    k=st.integers(1, 8),
)
def test_the_best_of_each_group_are_chosen_and_of_equal_ones_the_first(groups, k):
    scores = np.array([score for group in groups for score in group])
    offsets = np.cumsum([0, *map(len, groups)])
    chosen, counts = np.empty((len(groups), k), np.int64), np.empty(len(groups), np.int64)
    best_of_each(scores, offsets, chosen, counts)
    for number, group in enumerate(groups):
        places = [place for place in range(len(group)) if group[place] > -np.inf]
        expected = sorted(places, key=lambda place: (-group[place], place))[:k]
        assert (chosen[number, : counts[number]] - offsets[number]).tolist() == expected
