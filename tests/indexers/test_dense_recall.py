from __future__ import annotations

import json

import numpy as np
import pytest
from dense_data import build, clustered, exact, recall
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnemodex.indexers.dense.interval import mean_interval
from mnemodex.indexers.dense.probe import Probe, choose, held_out_rows, merge_probes
from mnemodex.schemas.errors import CorruptFileError, QueryError
from mnemodex.schemas.manifest import SearchParameters


def probe(found, *, exact_ids=((1, 2),), values=(16, 32, 64), origin="queries", parameter="efSearch", limit=4096):
    """A probe in which chunk i scores -i."""
    found, exact_ids = np.array(found), np.array(exact_ids)
    score = lambda ids: np.where(ids >= 0, -ids.astype(float), -np.inf)  # noqa: E731
    return Probe(
        origin=origin,
        parameter=parameter,
        limit=limit,
        values=np.array(values),
        exact_ids=exact_ids,
        exact_scores=score(exact_ids),
        found_ids=found,
        found_scores=score(found).astype(np.float32),
        true_scores=score(found),
        refines=np.zeros(len(values), int),
        comparisons=np.zeros(len(values)),
    )


def many(*found, count=200, **given):
    """A probe with the same answers to each of many queries."""
    return probe([[answer] * count for answer in found], exact_ids=[[1, 2]] * count, **given)


STEPS = ([3, 4], [1, 3], [1, 2])


def test_the_smallest_value_whose_interval_begins_at_the_target_is_taken():
    assert (many(*STEPS).recalls() == [[0], [0.5], [1]]).all()
    measured = choose(many(*STEPS), 0.49)
    chosen, search = measured.recall, measured.search
    assert (chosen.value, chosen.recall, chosen.reached, chosen.margin) == (32, 0.5, True, 1)
    assert 0.49 < chosen.low < 0.5 < chosen.high < 0.52
    assert search == SearchParameters(parameter="efSearch", value=32)
    assert json.loads(chosen.model_dump_json())["curve"] == {"16": 0, "32": 0.5, "64": 1}


def test_a_value_chosen_with_held_out_rows_is_doubled():
    chosen = choose(many(*STEPS, origin="held-out rows"), 0.49).recall
    assert (chosen.value, chosen.recall, chosen.reached, chosen.margin) == (64, 1, True, 2)
    assert choose(many(*STEPS, origin="held-out rows", limit=40), 0.49).recall.value == 40


def test_a_target_that_is_out_of_reach_is_said_so():
    missed = many([3, 4], [3, 4], [1, 4])
    chosen = choose(missed, 0.9).recall
    assert (chosen.value, chosen.recall, chosen.reached) == (64, 0.5, False)
    assert chosen.low < 0.5 < chosen.high


@pytest.mark.parametrize(("count", "reached"), [(60, False), (80, True)])
def test_a_mean_above_the_target_is_not_enough_where_probes_are_few(count, reached):
    chosen = choose(many(*STEPS, count=count), 0.95).recall
    assert (chosen.value, chosen.recall, chosen.reached) == (64, 1, reached)


def test_an_exact_search_needs_no_probes():
    few = probe([[[1, 3]], [[1, 2]], [[1, 2]]])
    assert not choose(few, 0.95).recall.reached
    chosen = choose(few, 0.95, exact_from=64).recall
    assert (chosen.value, chosen.low, chosen.high, chosen.reached) == (64, 1, 1, True)


def test_the_interval_is_exact_for_zeros_and_ones_and_narrow_for_equal_values():
    ones = np.repeat([1.0, 0.0], [450, 50])
    assert mean_interval(ones) == pytest.approx(stats.binomtest(450, 500).proportion_ci(0.95), abs=2e-3)
    assert mean_interval(np.ones(500)) == pytest.approx((0.025 ** (1 / 500), 1), abs=1e-3)
    low, high = mean_interval(np.full(500, 0.9))
    assert 0.89 < low < 0.9 < high < 0.91
    assert mean_interval(np.zeros(0)) == (0, 1)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    values = np.arange(11) / 10
    for shares in ([0.6, *[0.04] * 10], [*[0.002] * 9, 0.082, 0.9]):
        mean = float(values @ shares)
        intervals = np.array([mean_interval(rng.choice(values, 100, p=shares)) for _ in range(300)])
        assert np.mean(intervals[:, 0] > mean) < 0.045 and np.mean(intervals[:, 1] < mean) < 0.045


@given(st.lists(st.integers(0, 10), min_size=1, max_size=40), st.integers(0, 39))
def test_the_interval_rises_with_any_of_its_values(tenths, place):
    values = np.array(tenths) / 10
    better = values.copy()
    better[place % len(values)] = 1
    low, high = mean_interval(values)
    assert 0 <= low <= values.mean() <= high <= 1
    # Resampling has an error of its own, of 1 % of the width.
    assert np.all(np.array(mean_interval(better)) >= np.array([low, high]) - 0.02 * (high - low))


def test_an_index_without_a_parameter_has_a_recall_but_no_value():
    chosen = choose(probe([[[1, 4]]], values=[0], parameter=None, origin="held-out rows"), 0.95).recall
    assert (chosen.value, chosen.recall, chosen.reached, chosen.curve, chosen.margin) == (None, 0.5, False, {}, 1)
    nothing = choose(probe(np.zeros((1, 0, 2)), exact_ids=np.zeros((0, 2)), values=[0], parameter=None), 0.95).recall
    assert (nothing.probes, nothing.recall, nothing.reached) == (0, 1, True)


def test_either_of_two_equal_vectors_will_do():
    tied = probe([[[1, 2]]], values=[16])
    tied.true_scores[...] = tied.exact_scores
    other = Probe(**{**{name: getattr(tied, name) for name in Probe.__slots__}, "found_ids": np.array([[[1, 77]]])})
    assert other.recalls().tolist() == [[1]]


def test_places_that_cannot_be_filled_do_not_count():
    few = probe([[[1, -1, -1]]], exact_ids=[[1, 2, -1]], values=[16])
    assert few.recalls().tolist() == [[0.5]]


def test_answers_to_the_same_queries_are_merged_over_shards():
    first = probe([[[1, 9]]], exact_ids=[[1, 9]], values=[16])
    second = probe([[[3, 4]]], exact_ids=[[2, 3]], values=[16])
    merged = merge_probes([first, second])
    assert merged.exact_ids[0, :2].tolist() == [1, 2]
    assert merged.found_ids[0, 0, :3].tolist() == [1, 3, 4]


def test_held_out_rows_are_put_side_by_side():
    good = probe([[[1, 2]]], values=[16], origin="held-out rows")
    bad = probe([[[8, 9]]], values=[16], origin="held-out rows")
    merged = merge_probes([good, bad, bad])
    assert merged.recalls().tolist() == [[1, 0, 0]]
    assert choose(merged, 0.9).recall.probes == 3
    with pytest.raises(CorruptFileError):
        merge_probes([good, probe([[[1, 2]]], values=[16])])


@pytest.mark.parametrize(
    "settings", [{"factory": "Flat"}, {"factory": "HNSW8"}, {"factory": "IVF8,Flat"}, {"engine": "hnswlib"}]
)
def test_held_out_rows_were_not_in_the_index_when_it_was_measured(tmp_path, settings):
    matrix = clustered(1000)
    built = build(tmp_path, matrix, **settings)
    assert built.stats[0].held_out == 50
    measured = Probe.load(built.shards[0])
    held_out = np.load(built.shards[0] / "chunk_ids.npy")[-50:]
    assert not np.isin(measured.exact_ids, held_out).any()
    assert not np.isin(measured.found_ids, held_out).any()
    rows = matrix[np.argsort(built.ids)[np.searchsorted(np.sort(built.ids), held_out)]]
    assert np.array_equal(built.open(200).search(rows, 1)[1][:, 0], held_out)


def test_how_many_rows_are_held_out():
    assert [held_out_rows(rows) for rows in (0, 1, 2, 10, 100, 10_000, 10**6)] == [0, 0, 1, 1, 5, 500, 500]


@pytest.mark.parametrize("settings", [{"factory": "HNSW4"}, {"factory": "IVF16,Flat"}, {"engine": "hnswlib", "m": 4}])
@pytest.mark.parametrize("value", [16])
def test_recall_over_shards_is_what_searching_them_gives(tmp_path, settings, value):
    matrix, questions = clustered(1500, 32, clusters=4), clustered(120, 32, seed=4, clusters=4)
    built = build(tmp_path, matrix, sizes=[400, 500, 600], groups=[[0], [1], [2]], probes=questions, **settings)
    measured = built.indexer.measure(built.shards).recall
    assert (measured.source, measured.probes, measured.k) == ("queries", 120, 10)
    found = built.open(value).search(questions, 10)[1]
    assert recall(found, exact(matrix, built.ids, questions, 10)[1]) == pytest.approx(measured.curve[value], abs=0.01)


def test_recall_rises_with_the_parameter(tmp_path):
    built = build(tmp_path, clustered(2000, 48, clusters=2), factory="IVF64,Flat", target_recall=0.8)
    measured = built.indexer.measure(built.shards).recall
    curve = list(measured.curve.values())
    assert curve == sorted(curve) and curve[0] < 0.8 and curve[-1] == 1
    assert list(measured.curve) == [1, 2, 4, 8, 16, 32, 64]


def test_queries_of_another_model_are_refused(tmp_path):
    for number, wrong in enumerate((np.zeros((3, 5)), np.zeros((0, 24)), np.full((1, 24), np.nan))):
        with pytest.raises(QueryError, match="24 dimensions"):
            build(tmp_path / str(number), clustered(50), probes=wrong.astype(np.float32))
