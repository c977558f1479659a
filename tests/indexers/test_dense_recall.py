from __future__ import annotations

import json

import numpy as np
import pytest
from dense_data import build, clustered, exact, recall

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
    )


STEPS = ([[3, 4]], [[1, 3]], [[1, 2]])


def test_the_smallest_value_that_reaches_the_target_is_taken():
    assert probe(STEPS).curve().tolist() == [0, 0.5, 1]
    measured = choose(probe(STEPS), 0.5)
    chosen, search = measured.recall, measured.search
    assert (chosen.value, chosen.recall, chosen.reached, chosen.margin) == (32, 0.5, True, 1)
    assert search == SearchParameters(parameter="efSearch", value=32)
    assert json.loads(chosen.model_dump_json())["curve"] == {"16": 0, "32": 0.5, "64": 1}


def test_a_value_chosen_with_held_out_rows_is_doubled():
    chosen = choose(probe(STEPS, origin="held-out rows"), 0.5).recall
    assert (chosen.value, chosen.recall, chosen.reached, chosen.margin) == (64, 1, True, 2)
    assert choose(probe(STEPS, origin="held-out rows", limit=40), 0.5).recall.value == 40


def test_a_target_that_is_out_of_reach_is_said_so():
    missed = probe([[[3, 4]], [[3, 4]], [[1, 4]]])
    chosen = choose(missed, 0.9).recall
    assert (chosen.value, chosen.recall, chosen.reached) == (64, 0.5, False)


def test_an_index_without_a_parameter_has_a_recall_but_no_value():
    chosen = choose(probe([[[1, 4]]], values=[0], parameter=None, origin="held-out rows"), 0.95).recall
    assert (chosen.value, chosen.recall, chosen.reached, chosen.curve, chosen.margin) == (None, 0.5, False, {}, 1)


def test_either_of_two_equal_vectors_will_do():
    tied = probe([[[1, 2]]], values=[16])
    tied.true_scores[...] = tied.exact_scores
    other = Probe(**{**{name: getattr(tied, name) for name in Probe.__slots__}, "found_ids": np.array([[[1, 77]]])})
    assert other.curve().tolist() == [1]


def test_places_that_cannot_be_filled_do_not_count():
    few = probe([[[1, -1, -1]]], exact_ids=[[1, 2, -1]], values=[16])
    assert few.curve().tolist() == [0.5]


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
    assert merged.curve() == pytest.approx([1 / 3])
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
