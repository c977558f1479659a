"""Fallback: passages of another index where the pairs of a memory do not know, and a reader of these."""

from __future__ import annotations

import pytest
from library import write_jsonl, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.schemas.errors import NoAnswerError, QueryError, RecipeError

NOTES = [
    {"id": "ferry", "title": "Ferry", "text": "The ferry leaves at noon."},
    {"id": "mill", "title": "Mill", "text": "The mill grinds rye."},
    {"id": "quay", "title": "Quay", "text": "Nobody sleeps near the quay."},
]
PAIRS = [
    {"question": "When does the ferry leave?", "answer": "at noon", "passage_id": "ferry"},
    {"question": "What does the mill grind?", "answer": "rye", "passage_id": "mill"},
]
ASKED = [
    {"id": "1", "question": "when does the ferry leave", "answers": ["noon", "at noon"]},
    {"id": "2", "question": "what does the mill grind", "answers": ["rye"]},
    {"id": "3", "question": "who sleeps near the quay", "answers": ["nobody"]},
    {"id": "4", "question": "which animals live near the quay", "answers": ["cats"]},
]
KNOWN, UNKNOWN = "When does the ferry leave?", "who sleeps near the quay"


class FirstWord:
    """Answers with the first word of the first passage, and fails without a passage."""

    def __init__(self):
        self.asked = []

    def read(self, questions, passages):
        self.asked += questions
        return [row[0][1].split()[0] if row else NoAnswerError("nothing to read") for row in passages]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fallback")
    abstain = {"queries": str(write_jsonl(folder / "asked.jsonl", ASKED)), "coverage": 0.5}
    return {
        "source": {"path": str(write_parts(folder / "notes", NOTES, 2))},
        "memory": str(folder / "memory"),
        "embed": {"e": {}},
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", PAIRS))},
        "indexes": {
            "qa": {"type": "qa", "abstain": abstain, "fallback": "words"},
            "alone": {"type": "qa", "abstain": abstain},
            "words": {"type": "bm25"},
        },
    }


@pytest.fixture(scope="module")
def memory(recipe):
    mnemodex.build(recipe, local=True, encoders={"e": Hashed(256, seed=8)})
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(256, seed=8)})


def test_passages_stand_in_where_no_pair_is_sure_enough(memory):
    known, unknown = memory.retriever("qa").predictions([KNOWN, UNKNOWN], k=2)
    assert (known.answer, known.source, known.passages) == ("at noon", "pairs", ())
    assert (unknown.answer, unknown.source, unknown.declined is None) == (None, "passages", False)
    assert unknown.passages == tuple(memory.retriever("words").search([UNKNOWN], 2)[0])
    assert unknown.passages[0].key == "quay"


def test_without_a_fallback_there_are_no_passages(memory):
    known, unknown = memory.retriever("alone").predictions([KNOWN, UNKNOWN])
    assert known.source == unknown.source == "pairs"
    assert (unknown.answer, unknown.passages) == (None, ())


def test_a_filter_holds_for_passages_too(memory):
    predictions = memory.retriever("qa").predictions([KNOWN, UNKNOWN], where="d.key <> 'ferry'")
    assert [prediction.answer for prediction in predictions] == [None, None]
    keys = {passage.key for prediction in predictions for passage in prediction.passages}
    assert keys == {"quay"}


def test_a_reader_reads_what_the_pairs_do_not_know_and_nothing_else(memory):
    reader = FirstWord()
    known, unknown, blank = memory.retriever("qa").predictions([KNOWN, UNKNOWN, " ?"], reader=reader)
    assert reader.asked == [UNKNOWN, " ?"]
    assert (known.answer, known.source) == ("at noon", "pairs")
    assert (unknown.answer, unknown.source, unknown.error) == ("Nobody", "passages", None)
    assert (blank.answer, blank.passages, blank.error) == (None, (), "nothing to read")


def test_a_reader_without_passages_is_refused(memory):
    with pytest.raises(QueryError, match="index 'alone': there are no passages to read"):
        memory.retriever("alone").predictions([KNOWN], reader=FirstWord())


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ("qa", r"indexes\.qa\.fallback names 'qa'; other indexes are: alone, words, both"),
        ("alone", r"indexes\.qa\.fallback names 'alone', of type qa, whose hits are pairs"),
        ("wrods", r"indexes\.qa\.fallback names 'wrods'; other indexes are"),
        ("both", "indexes are made of each other"),
    ],
)
def test_a_fallback_that_is_no_index_of_chunks_is_refused(recipe, fallback, message):
    indexes = recipe["indexes"] | {"both": {"type": "hybrid", "of": ["words", "qa"]}}
    indexes |= {"qa": recipe["indexes"]["qa"] | {"fallback": fallback}}
    with pytest.raises(RecipeError, match=message):
        mnemodex.build(recipe | {"indexes": indexes}, encoders={"e": Hashed(256, seed=8)}, dry_run=True)
