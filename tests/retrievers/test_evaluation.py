"""Evaluation over documents, against figures worked out by hand."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from mnemodex.retrievers.evaluation import evaluate, search_documents
from mnemodex.retrievers.queries import Query
from mnemodex.schemas.errors import QueryError


class Answers:
    """A retriever whose hits are made up: for each question its documents, one a chunk, best first."""

    name = "made-up"

    def __init__(self, answers):
        self.answers = answers
        self.depths = []

    def search(self, queries, k, *, where=None):
        self.depths.append(k)
        return Folded([self.answers[question] for question in queries], k)


class Folded:
    def __init__(self, answers, k):
        names = sorted({key for answer in answers for key in answer})
        self._answers = [answer[:k] for answer in answers]
        padded = [[names.index(key) for key in answer] + [-1] * (k - len(answer)) for answer in self._answers]
        self._documents = np.array(padded, np.int64).reshape(len(answers), k)
        self.ids = np.where(self._documents < 0, -1, np.arange(k))

    def document_ids(self):
        return self._documents

    def documents(self):
        answers = []
        for answer in self._answers:
            best = {}
            for place, key in enumerate(answer):
                best.setdefault(key, 1.0 - place / 100)
            answers.append(list(best.items()))
        return answers


def test_chunks_are_folded_until_there_are_enough_documents():
    retriever = Answers({"q": ["a", "a", "a", "b", "a", "c"]})
    assert search_documents(retriever, ["q"], 2) == [[("a", 1.0), ("b", 0.97)]]
    assert retriever.depths == [2, 4]
    assert [key for key, _ in search_documents(retriever, ["q"], 5)[0]] == ["a", "b", "c"]


def test_metrics_are_those_of_a_worked_example():
    retriever = Answers(
        {
            "one": ["x", "a", "y", "b", "z"],  # gold a (rank 2) and b (rank 4), and c, which is not found
            "two": ["d", "x", "y"],  # gold d at rank 1
            "three": ["x", "y", "z"],  # gold e is not found
        }
    )
    queries = [
        Query("1", "one", {"a": 1, "b": 1, "c": 1}),
        Query("2", "two", {"d": 1}),
        Query("3", "three", {"e": 1}),
        Query("4", "nobody knows"),
    ]
    result = evaluate(retriever, queries, k=3)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert (result.index, result.queries, result.queries_without_gold, result.k) == ("made-up", 3, 1, 3)
    assert result.metrics == pytest.approx(
        {
            "R@1": (0 + 1 + 0) / 3,
            "R@2": (1 / 3 + 1 + 0) / 3,
            "R@3": (1 / 3 + 1 + 0) / 3,
            "R@5": (2 / 3 + 1 + 0) / 3,
            "R@10": (2 / 3 + 1 + 0) / 3,
            "nDCG@10": ((1 / log2(3) + 1 / log2(5)) / ideal + 1 + 0) / 3,
            "RR@10": (1 / 2 + 1 + 0) / 3,
            "all@3": 1 / 3,
            "all@5": 1 / 3,
            "all@10": 1 / 3,
        }
    )
    ranked = ["R@1", "R@2", "R@3", "R@5", "R@10", "nDCG@10", "RR@10"]
    assert list(result.metrics) == [*ranked, "all@3", "all@5", "all@10"]


def test_degrees_of_relevance_count_in_ndcg():
    result = evaluate(Answers({"q": ["b", "a"]}), [Query("1", "q", {"a": 2, "b": 1})])
    assert result.metrics["nDCG@10"] == pytest.approx((1 + 2 / log2(3)) / (2 + 1 / log2(3)))


def test_documents_of_equal_score_keep_their_order():
    """An evaluator that sorts by score again would put them by name."""

    class Level(Answers):
        def search(self, queries, k, *, where=None):
            hits = super().search(queries, k)
            hits.documents = lambda: [[(key, 0.5) for key in answer] for answer in hits._answers]
            return hits

    for order in (["a", "b"], ["b", "a"]):
        assert evaluate(Level({"q": order}), [Query("1", "q", {order[0]: 1})]).metrics["R@1"] == 1


def test_the_run_holds_the_first_k_documents_of_each_query():
    result = evaluate(
        Answers({"p": ["a", "b b", "c"], "q": ["c"]}), [Query("1", "p", {"a": 1}), Query("2", "q", {"c": 1})], k=2
    )
    assert result.run == "1 Q0 a 1 1 made-up\n1 Q0 b%20b 2 0.99 made-up\n2 Q0 c 1 1 made-up\n"


def test_queries_without_any_gold_are_refused():
    with pytest.raises(QueryError, match=r"no query has gold documents .*give --qrels FILE"):
        evaluate(Answers({}), [Query("1", "q")])


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(k):
    with pytest.raises(QueryError, match=f"k is {k}"):
        evaluate(Answers({"q": ["a"]}), [Query("1", "q", {"a": 1})], k=k)


def test_every_query_of_the_library_finds_its_own_document(memory):
    texts = memory.sql("SELECT key, text FROM documents WHERE length(text) > 60 AND key LIKE '%-4'").fetchall()
    queries = [Query(key, text[:120], {key: 1}) for key, text in texts]
    result = evaluate(memory.retriever("both"), queries, k=5)
    assert len(queries) == 12 and result.metrics["R@5"] == 1
    assert result.to_json()["queries_per_second"] == pytest.approx(12 / result.seconds)
    assert all(len(line.split()) == 6 for line in result.run.splitlines())
