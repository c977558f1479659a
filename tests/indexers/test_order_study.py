from __future__ import annotations

import itertools

import numpy as np
import pytest
from dense_data import clustered

from mnemodex.indexers.dense.order_study import ENGINES, ORDERS, VALUES, OrderRecall, study_orders


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def studied(lines):
    given = {"seeds": 3, "threads": 2, "report": lines.append}
    return study_orders(clustered(600, 32, clusters=3), clustered(60, 32, seed=4, clusters=3), "ip", **given)


def test_every_library_order_and_seed_is_measured(studied, lines):
    assert [(one.engine, one.order) for one in studied] == list(itertools.product(ENGINES, ORDERS))
    assert sum("of 30 graphs" in line for line in lines) == 30
    for one in studied:
        assert one.values == VALUES and len(one.recalls) == 3
        assert np.allclose(one.means, np.mean(one.recalls, axis=0))
        assert one.means[0] < one.means[-1] and one.means[-1] > 0.99


def test_seeds_differ_in_every_order(studied):
    assert all(len({recalls[0] for recalls in one.recalls}) > 1 for one in studied)


def test_the_same_study_gives_the_same_figures(studied):
    given = {"seeds": 3, "threads": 1, "report": lambda line: None}
    again = study_orders(clustered(600, 32, clusters=3), clustered(60, 32, seed=4, clusters=3), "ip", **given)
    assert again == studied


def test_the_interval_is_that_of_student():
    recalls = np.array([[0.90], [0.92], [0.97]])
    one = OrderRecall.of("faiss", "shuffle", recalls)
    # Of three values: 4.303 standard errors.
    assert one.half_widths[0] == pytest.approx(4.303 * recalls.std(ddof=1) / np.sqrt(3), rel=1e-3)


def test_an_interrupt_ends_the_study(monkeypatch):
    def report(line):
        if "1 of 30" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study_orders(clustered(2000), clustered(5, seed=4), "l2", seeds=3, threads=1, report=report)
