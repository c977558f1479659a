"""Growth laws: what follows for a large size from a few small ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from planning import vector_trial

from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.pipelines.planner.laws import Estimate, Point, power, predict, root, sorting, spread, total
from mnemodex.pipelines.planner.layout import partition_rows, shard_sizes
from mnemodex.pipelines.planner.vector_laws import plan_vectors
from mnemodex.pipelines.sources.base import Piece
from mnemodex.pipelines.sources.packing import Packing, pack

SIZES = (100, 400, 1600, 6400)


def points(cost, *laws):
    return [Point(tuple(law(size) for law in laws), cost(size), number) for number, size in enumerate(SIZES)]


@pytest.mark.parametrize(
    ("law", "grown"), [(float, 1000.0), (sorting, 1000 * math.log2(6_400_000) / math.log2(6400)), (root, 1000**0.5)]
)
def test_a_cost_that_follows_its_law_is_foretold_exactly(law, grown):
    found = predict(points(lambda size: 3e-4 * law(size), law), (law(6_400_000),))
    assert found.value == pytest.approx(3e-4 * law(6400) * grown)
    assert found.low == pytest.approx(found.high)


def test_what_does_not_grow_and_what_does_are_told_apart():
    measured = points(lambda size: 2.0 + 0.001 * size, lambda _: 1.0, float)
    assert predict(measured, (1.0, 1e6)).value == pytest.approx(1002)
    # Twice the units, twice what each takes.
    assert predict(measured, (2.0, 1e6)).value == pytest.approx(1004)


def test_the_interval_holds_what_each_size_says_and_widens_with_the_noise():
    noisy = points(lambda size: 0.001 * size * (1.2 if size == 1600 else 1.0), float)
    found = predict(noisy, (1e6,))
    assert found.low == pytest.approx(1000, rel=0.01) and found.low < found.value <= found.high
    assert predict(points(lambda size: 0.001 * size, float), (1e6,)).high == pytest.approx(1000)


def test_a_constant_of_small_sizes_may_hide_growth():
    found = predict(points(lambda size: 5.0, lambda _: 1.0, float), (1.0, 6_400_000.0))
    assert found.value == pytest.approx(5) and found.high == pytest.approx(500)


def test_units_that_took_long_by_chance_count_as_the_others():
    generator = np.random.default_rng(0)
    measured = [Point((1.0, 1000.0), 0.2 if slow else 0.02) for slow in generator.random(200) < 0.05]
    spent = sum(point.cost for point in measured)
    assert predict(measured, (2000.0, 2_000_000.0)).value == pytest.approx(10 * spent, rel=0.01)


def test_no_part_of_a_cost_is_negative():
    falling = points(lambda size: 5 - size / 2000, lambda _: 1.0, float)
    assert predict(falling, (1.0, 1e6)).value > 0


def test_distinct_things_grow_by_the_power_that_the_sizes_show():
    found = power(SIZES, [size**0.6 for size in SIZES], 6_400_000)
    assert found.value == pytest.approx(6_400_000**0.6) and found.low == pytest.approx(found.high)
    # Never by more than the corpus.
    assert power(SIZES, [size**1.2 for size in SIZES], 12_800).value == pytest.approx(2 * 6400**1.2)
    assert power(SIZES, [0, 0, 0, 0], 10**6) == Estimate.exact(0.0)


def test_intervals_add_and_widen():
    found = total([Estimate(10, 8, 12), Estimate(1, 1, 1)])
    assert found == Estimate(11, 9, 13)
    assert found.widened(0.5) == Estimate(11, 6, 19.5)
    assert spread(1) == pytest.approx(0.05) and spread(1000) == pytest.approx(0.2)


@pytest.mark.parametrize("rows", [1, 700, 10_000, 100_000, 3_000_000])
def test_partitions_are_those_of_a_build(rows):
    size, packing = 200, Packing()
    starts = range(0, rows, packing.rows)
    pieces = (
        Piece(
            "corpus.jsonl",
            start * size,
            min(rows, start + packing.rows) * size,
            start + 1,
            "",
            min(packing.rows, rows - start),
        )
        for start in starts
    )
    splits = [sum(piece.rows for piece in split.pieces) for split in pack(pieces, packing)]
    found = partition_rows(rows, size)
    assert sum(count * many for count, many in found.items()) == rows
    assert found.total() == pytest.approx(len(splits), rel=0.15, abs=1)


def test_partitions_of_a_billion_documents_are_counted_without_listing_them():
    found = partition_rows(10**9, 600)
    assert sum(count * many for count, many in found.items()) == 10**9
    assert 15_000 < found.total() < 40_000


def test_shards_are_full_but_for_the_last():
    assert shard_sizes(2_500_000, 1_000_000) == {1_000_000: 2, 500_000: 1}
    assert shard_sizes(10, 1_000_000) == {10: 1} and not shard_sizes(0, 5)


class TestVectors:
    def test_an_exact_index_has_a_vector_for_each_row(self):
        trials = [vector_trial(rows) for rows in (2048, 4096, 8192)]
        found = plan_vectors(DenseSettings(embed="any"), 20_000, trials)
        assert (found.layout, found.train, found.shards.total()) == ("Flat", None, 1)
        assert found.bytes.value == pytest.approx(20_000 * 256, rel=0.04)
        # 500 of 20,000 rows are held out, 102 of 2,048: measuring recall grows with the square up to there only.
        assert found.build.value == pytest.approx(20_000 * 1e-6 + 2 * 500 * 20_000 * 1e-8)

    def test_lists_are_trained_with_as_many_rows_as_the_many_lists_of_a_large_index_need(self):
        settings = DenseSettings(embed="any", factory="IVF16384,SQ8")
        trials = [vector_trial(rows, lists=rows // 100, parameter="nprobe") for rows in (2048, 4096, 8192)]
        found = plan_vectors(settings, 5_000_000, trials)
        assert (found.lists, found.training_rows, found.shards.total()) == (16_384, 1_638_400, 5)
        assert found.train is not None
        assert found.train.value == pytest.approx(1_638_400 * 16_384 * 1e-9, rel=0.1)

    def test_every_shard_of_a_graph_is_searched_from_its_top(self):
        settings = DenseSettings(embed="any", factory="HNSW32")
        trials = [vector_trial(rows, parameter="efSearch") for rows in (2048, 4096, 8192)]
        one, ten = (plan_vectors(settings, rows, trials) for rows in (1_000_000, 10_000_000))
        assert ten.search.value == pytest.approx(10 * one.search.value)
        assert ten.build.value == pytest.approx(10 * one.build.value)

    def test_a_graph_that_the_cache_does_not_hold_takes_longer_a_row(self):
        settings = DenseSettings(embed="any", factory="HNSW32")
        sizes = (2048, 8192, 32_768, 65_536)
        held = [vector_trial(rows, parameter="efSearch").model_copy(update={"cache": 8 << 20}) for rows in sizes]
        # Beyond 6 MiB a row waits for memory.
        waiting = [
            one.model_copy(update={"add": one.add * (1 + 2 * max(0.0, 1 - (6 << 20) / one.bytes))}) for one in held
        ]
        small, large = (
            [plan_vectors(settings, rows, trials).build.value for trials in (held, waiting)]
            for rows in (10_000, 1_000_000)
        )
        assert small[1] == pytest.approx(small[0], rel=0.15)
        assert large[1] > 1.3 * large[0]
