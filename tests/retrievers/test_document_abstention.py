"""Abstention over documents: what the best score of a question says of its having gold, and a threshold of it."""

from __future__ import annotations

import numpy as np
import pytest

from mnemodex.retrievers.abstention import calibrate
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.queries import Query
from mnemodex.schemas.errors import QueryError


class Scored:
    """A retriever whose hits are given: for each question documents and their scores, best first."""

    name = "scored"

    def __init__(self, answers):
        self.answers = answers

    def search(self, queries, k, *, where=None):
        return Found([self.answers[question] for question in queries], k)


class Found:
    def __init__(self, answers, k):
        self._answers = [answer[:k] for answer in answers]
        self.ids = np.array([[*range(len(answer)), *[-1] * (k - len(answer))] for answer in self._answers])

    def document_ids(self):
        return self.ids

    def documents(self):
        return self._answers


def asked(with_gold, without):
    """A retriever and queries with and without gold, whose best hits have these scores; the gold is found first."""
    scores = {f"gold{n}": score for n, score in enumerate(with_gold)}
    scores |= {f"none{n}": score for n, score in enumerate(without)}
    queries = [Query(name, name, {name: 1} if name.startswith("gold") else {}, unanswerable=True) for name in scores]
    return Scored({name: [(name, score), ("other", score - 1)] for name, score in scores.items()}), queries


def measured(with_gold, without, **options):
    return evaluate(*asked(with_gold, without), **options).abstention


class TestMeasures:
    def test_questions_that_are_all_surer_than_those_without_gold_are_separated_perfectly(self):
        found = measured([3, 4, 5], [1, 2])
        assert (found.auroc, found.low, found.high) == (1, 1, 1)
        assert (found.answerable, found.unanswerable) == (3, 2)
        assert found.risk_coverage == [
            {"threshold": 5, "coverage": 1 / 5, "risk": 0},
            {"threshold": 4, "coverage": 2 / 5, "risk": 0},
            {"threshold": 3, "coverage": 3 / 5, "risk": 0},
            {"threshold": 2, "coverage": 4 / 5, "risk": 1 / 4},
            {"threshold": 1, "coverage": 1, "risk": 2 / 5},
        ]
        assert found.area == pytest.approx((0 + 0 + 0 + 1 / 4 + 2 / 5) / 5) and found.risk == 2 / 5

    def test_the_other_way_round_nothing_is_in_order(self):
        assert measured([1, 2], [3, 4]).auroc == 0

    def test_confidences_of_one_distribution_separate_nothing(self):
        random = np.random.default_rng(0)
        found = measured(random.normal(size=200).tolist(), random.normal(size=200).tolist())
        assert found.low < 0.5 < found.high and found.auroc == pytest.approx(0.5, abs=0.06)

    def test_ties_count_half_and_are_answered_together(self):
        found = measured([1, 1], [1])
        assert found.auroc == 0.5 and found.risk_coverage == [{"threshold": 1, "coverage": 1, "risk": 1 / 3}]

    def test_an_answer_is_wrong_where_no_gold_is_among_the_first_k_documents(self):
        retriever, queries = asked([2, 3], [1])
        retriever.answers["gold0"] = [("other", 2), ("gold0", 1)]
        assert evaluate(retriever, queries, k=1).abstention.risk == 2 / 3
        assert evaluate(retriever, queries, k=2).abstention.risk == 1 / 3

    def test_a_question_without_a_hit_is_the_least_sure_and_never_answered(self):
        retriever, queries = asked([2, 3], [1])
        retriever.answers["none0"] = []
        found = evaluate(retriever, queries).abstention
        assert found.auroc == 1 and found.risk == 0 and found.risk_coverage[-1]["coverage"] == 2 / 3
        retriever.answers = {name: [] for name in retriever.answers}
        found = evaluate(retriever, queries).abstention
        assert (found.auroc, found.area, found.risk, found.risk_coverage) == (0.5, None, None, [])

    def test_what_is_not_known_to_be_unanswerable_is_not_measured(self):
        retriever, queries = asked([2, 3], [1])
        unknown = [Query(query.id, query.question, query.gold) for query in queries]
        result = evaluate(retriever, unknown)
        assert result.abstention is None and result.queries_without_gold == 1

    def test_unanswerable_questions_change_no_measure_of_rank(self):
        retriever, queries = asked([2, 3], [1])
        both, alone = evaluate(retriever, queries), evaluate(retriever, queries[:2])
        assert (both.metrics, both.queries, both.run) == (alone.metrics, 2, alone.run)
        assert both.queries_without_gold == 1

    def test_unanswerable_questions_alone_are_refused(self):
        with pytest.raises(QueryError, match="no query has gold documents"):
            measured([], [1, 2])

    def test_the_document_of_the_querys_own_id_gives_no_confidence(self):
        retriever, queries = asked([3], [5])
        retriever.answers["gold0"] = [("d", 3)]
        queries = [Query("gold0", "gold0", {"d": 1}), queries[1]]
        assert measured([3], [5]).auroc == 0
        retriever.answers["none0"] = [("none0", 5), ("d", 1)]
        assert evaluate(retriever, queries, exclude_self=True).abstention.auroc == 1


class TestCalibrate:
    def test_a_threshold_answers_the_coverage_or_keeps_to_the_risk(self):
        retriever, queries = asked([3, 4, 5], [1, 2])
        by_coverage = calibrate(retriever, queries, coverage=0.5)
        assert (by_coverage.answered, by_coverage.queries, by_coverage.risk) == (3, 5, 0)
        assert 2 < by_coverage.threshold < 3
        by_risk = calibrate(retriever, queries, risk=0.3)
        assert (by_risk.answered, by_risk.coverage, by_risk.risk) == (4, 0.8, 0.25)
        assert 1 < by_risk.threshold < 2 and by_risk.risk_low < 0.25 < by_risk.risk_high

    def test_a_risk_that_no_threshold_has_is_refused_with_the_least_one(self):
        retriever, queries = asked([1, 2], [3])
        with pytest.raises(QueryError, match=r"no threshold has a risk of 0.1: the least is 0.333"):
            calibrate(retriever, queries, risk=0.1)

    @pytest.mark.parametrize("aims", [{}, {"risk": 0.1, "coverage": 0.5}])
    def test_one_aim_is_given(self, aims):
        with pytest.raises(QueryError, match="give either `coverage`"):
            calibrate(*asked([2], [1]), **aims)

    @pytest.mark.parametrize("aims", [{"risk": 1.5}, {"coverage": 0.0}, {"coverage": float("nan")}])
    def test_an_aim_is_a_part(self, aims):
        with pytest.raises(QueryError, match="from 0 to 1"):
            calibrate(*asked([2], [1]), **aims)

    def test_queries_without_gold_or_hits_are_refused(self):
        with pytest.raises(QueryError, match="no query has gold"):
            calibrate(*asked([], [1]), risk=0.1)
        retriever, queries = asked([2], [1])
        retriever.answers = {name: [] for name in retriever.answers}
        with pytest.raises(QueryError, match="none of the 2 queries has a hit"):
            calibrate(retriever, queries, risk=0.1)

    def test_hits_below_the_threshold_are_left_out_of_a_search(self, memory):
        retriever = memory.retriever("words")
        texts = memory.sql("SELECT key, text FROM documents WHERE length(text) > 60 ORDER BY key LIMIT 6").fetchall()
        queries = [Query(key, text[:120], {key: 1}) for key, text in texts]
        queries += [Query("none", "rye", unanswerable=True)]
        known = calibrate(retriever, queries, risk=0.0)
        hits = retriever.search(["rye", texts[0][1][:120]], 3)
        left = hits.without(hits.scores[:, 0] < known.threshold)
        assert len(hits[0]) > 0 and left[0] == [] and left[1] == hits[1]
