"""Hits of an index that are scored again, by a cross-encoder or by a function of a question and a text."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from task_models import saved

from mnemodex.indexers.models.cross_encoder import CrossEncoder
from mnemodex.retrievers.reranking import RerankRetriever
from mnemodex.schemas.errors import QueryError, RecipeError

QUESTIONS = ["Who winds the clockwork of the lamp?", "apples in straw", "xyzzy"]


def length(question, text):
    """A score that the words have no part in."""
    return float(len(text))


def texts_of(row):
    return [f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text for chunk in row]


def test_hits_are_sorted_by_the_scores_of_a_function(memory):
    words = memory.retriever("words")
    hits = RerankRetriever.over(words, length).search(QUESTIONS, 5)
    for row, former in zip(hits, words.search(QUESTIONS, 50), strict=True):
        lengths = [len(text) for text in texts_of(row)]
        assert lengths == sorted((len(text) for text in texts_of(former)), reverse=True)[:5]
        assert [chunk.score for chunk in row] == lengths
    assert hits[0] and not hits[2], "the index finds nothing, and nothing is scored"


def test_equal_scores_are_ordered_by_id(memory):
    hits = RerankRetriever.over(memory.retriever("flat"), lambda question, text: 1.0).search(["apples"], 8)
    first = memory.retriever("flat").search(["apples"], 50)
    assert hits.ids[0].tolist() == sorted(first.ids[0].tolist())[:8]


def test_only_the_first_hits_are_scored_or_as_many_as_are_wanted(memory):
    asked = []

    def counted(question, text):
        asked.append(text)
        return length(question, text)

    shallow = RerankRetriever.over(memory.retriever("flat"), counted, depth=4)
    hits = shallow.search(["apples"], 2)
    assert len(asked) == 4
    assert set(hits.ids[0].tolist()) < set(memory.retriever("flat").search(["apples"], 4).ids[0].tolist())
    assert len(shallow.search(["apples"], 7)[0]) == 7


def test_a_filter_applies_before_hits_are_scored(memory):
    where = "c.tokens > 20"
    hits = RerankRetriever.over(memory.retriever("flat"), length, depth=3).search(["apples"], 3, where=where)
    first = memory.retriever("flat").search(["apples"], 3, where=where)
    assert sorted(hits.ids[0].tolist()) == sorted(first.ids[0].tolist())


def test_an_object_scores_all_pairs_at_once(memory):
    calls = []

    class Scorer:
        def score(self, pairs):
            calls.append(len(pairs))
            return [len(text) for _, text in pairs]

    hits = RerankRetriever.over(memory.retriever("flat"), Scorer(), depth=6).search(["apples", "the lamp"], 6)
    assert calls == [12]
    assert np.array_equal(
        hits.ids, RerankRetriever.over(memory.retriever("flat"), length, depth=6).search(["apples", "the lamp"], 6).ids
    )


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda question, text: float("nan"), "the score of the question 'apples' and a text is nan; give numbers"),
        (SimpleNamespace(score=lambda pairs: [1.0]), r"gave scores of shape \(1,\) for 50 pairs; give one each"),
    ],
)
def test_what_is_no_score_is_refused(memory, scorer, message):
    with pytest.raises(QueryError, match=message):
        RerankRetriever.over(memory.retriever("flat"), scorer).search(["apples"], 3)


def test_a_cross_encoder_reads_the_question_and_title_and_text(memory, tmp_path):
    model = CrossEncoder(saved("SequenceClassification", tmp_path, num_labels=1))
    row = memory.retriever("crossed").search(QUESTIONS, 3)[0]
    expected = model.score([(QUESTIONS[0], text) for text in texts_of(row)])
    np.testing.assert_allclose([chunk.score for chunk in row], expected, rtol=1e-5)


def test_reasons_tell_the_score_the_former_place_and_why_it_was_there(memory):
    hits = memory.retriever("crossed").search(QUESTIONS[:1], 2)
    former = memory.retriever("words").search(QUESTIONS[:1], 50)
    for hit, score, reasons in zip(hits.ids[0].tolist(), hits.scores[0].tolist(), hits.reasons()[0], strict=True):
        place = former.ids[0].tolist().index(hit)
        assert reasons[0].text == f"score {score:.4f}; was hit {place + 1}" and reasons[0].score == score
        assert reasons[1:] == former.reasons()[0][place]


def test_the_recipe_names_an_index_and_a_model(build, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a note")
    with pytest.raises(RecipeError, match=r"the key 'indexes\.again\.model' is missing"):
        build(indexes={"words": {"type": "bm25"}, "again": {"type": "rerank", "of": "words"}})
    with pytest.raises(RecipeError, match=r"indexes\.again\.of names 'wrods'"):
        build(indexes={"words": {"type": "bm25"}, "again": {"type": "rerank", "of": "wrods", "model": "m"}})
