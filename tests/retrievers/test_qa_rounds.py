"""Questions of several hops: pairs found by the answers of others, filters, and what each round adds."""

from __future__ import annotations

import pytest
from library import write_jsonl, write_parts

import mnemodex
from mnemodex.indexers.qa import normalize_question
from mnemodex.retrievers.qa.predictions import VOTERS, vote
from mnemodex.schemas.errors import RecipeError

PAIRS = [
    ("In which country is the Bubye River?", "Zimbabwe", "rivers"),
    ("What is the waterfall in Zimbabwe called?", "Victoria Falls", "falls"),
    ("Who saw the Victoria Falls first?", "David Livingstone", "falls"),
    ("In which country is the Rhine Falls?", "Switzerland", "rivers"),
    ("Who was the first president of Zimbabwe?", "Canaan Banana", "people"),
    ("What is the capital of Kenya?", "Nairobi", "people"),
    ("What is the longest river of France?", "the Loire", "rivers"),
    ("Which town lies where the Loire meets the sea?", "Saint-Nazaire", "rivers"),
]
ONE = "What is the capital of Kenya?"
TWO = "What is the waterfall called in the country where the Bubye River is?"
THREE = "Which man was the first who saw the falls of the country with the Bubye River?"


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    notes = [
        {
            "id": key,
            "title": "",
            "text": " ".join(f"{question} {answer}." for question, answer, own in PAIRS if own == key),
        }
        for key in ("rivers", "falls", "people")
    ]
    pairs = [{"question": question, "answer": answer, "passage_id": key} for question, answer, key in PAIRS]
    recipe = {
        "source": {"path": str(write_parts(folder / "notes", notes, 2))},
        "memory": str(folder / "memory"),
        "indexes": {
            **{f"by{rounds}": {"type": "qa", "rounds": rounds} for rounds in (1, 2, 3)},
            "nearest": {"type": "qa", "rounds": 2, "answer": "nearest"},
            "with_answers": {"type": "qa", "rounds": 2, "key": "question_answer"},
        },
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", pairs))},
    }
    mnemodex.build(recipe, local=True)
    return mnemodex.open(recipe["memory"])


def test_each_round_answers_questions_of_one_more_hop(memory):
    predicted = {rounds: memory.retriever(f"by{rounds}").predict([ONE, TWO, THREE]) for rounds in (1, 2, 3)}
    assert {row[0] for row in predicted.values()} == {"Nairobi"}
    assert [row[1] == "Victoria Falls" for row in predicted.values()] == [False, True, True]
    assert predicted[3][2] == "David Livingstone"


def test_pairs_of_all_rounds_vote_unless_the_nearest_one_is_to_answer(memory):
    retriever = memory.retriever("by2")
    hits = retriever.search([TWO], VOTERS)
    assert retriever.predictions([TWO]) == vote(hits, [normalize_question(TWO)])
    (nearest,) = memory.retriever("nearest").predictions([TWO])
    assert (nearest.answer, nearest.confidence) == ("Victoria Falls", pytest.approx(float(hits.scores[0, 0])))
    assert retriever.predictions([TWO])[0].confidence != pytest.approx(nearest.confidence)


def test_the_vectors_of_questions_with_answers_find_chains_too(memory):
    assert memory.retriever("with_answers").predict([TWO]) == ["Victoria Falls"]


def test_a_pair_says_the_rounds_that_led_to_it(memory):
    hits = memory.retriever("by3").search([ONE, THREE], 3)
    first, chain = (row[0] for row in hits.reasons())
    assert [(reason.kind, reason.text) for reason in first] == [("question", ONE)]
    kinds, texts = zip(*((reason.kind, reason.text) for reason in chain), strict=True)
    assert kinds == ("question of round 3", "round 1", "round 2")
    assert texts[:2] == ("Who saw the Victoria Falls first?", "In which country is the Bubye River?: Zimbabwe")
    assert texts[2].endswith(": Victoria Falls")
    assert chain[0].score == pytest.approx(hits.scores[1, 0])
    assert hits.first(2, 1).reasons()[1] == [chain]


def test_every_pair_is_found_once_with_its_best_score(memory):
    single, chained = (memory.retriever(name).search([ONE, TWO, THREE], 8) for name in ("by1", "by3"))
    for row in range(3):
        alone = dict(zip(single.ids[row].tolist(), single.scores[row].tolist(), strict=True))
        found = dict(zip(chained.ids[row].tolist(), chained.scores[row].tolist(), strict=True))
        assert alone.keys() == found.keys()
        assert all(found[pair] >= score - 1e-6 for pair, score in alone.items())


def test_an_article_of_an_answer_need_not_be_in_the_next_question(memory):
    question = "Which town lies where the longest river of France meets the sea?"
    assert memory.retriever("by2").predict([question]) == ["Saint-Nazaire"]
    first, second = memory.retriever("by2").search([question], 1).reasons()[0][0]
    assert (first.kind, second.text) == ("question of round 2", "What is the longest river of France?: the Loire")


def test_a_filter_keeps_chains_of_its_chunks_only(memory):
    hits = memory.retriever("by3").search([THREE], 8, where="d.key <> 'rivers'")
    assert {pair.chunk.key for pair in hits.pairs()[0]} == {"falls", "people"}
    said = [reason.text for hit in hits.reasons()[0] for reason in hit]
    assert not any("Bubye" in text for text in said)


def test_passages_of_chains_are_found(memory):
    first = memory.retriever("by3").search([THREE], 1, kind="chunk")
    assert first.chunks()[0][0].key == "falls"
    assert first.reasons()[0][0][0].text == "Who saw the Victoria Falls first?"


@pytest.mark.parametrize("rounds", [0, -1, "many"])
def test_a_number_of_rounds_that_is_none_is_refused(tmp_path, rounds):
    recipe = {
        "memory": str(tmp_path / "memory"),
        "indexes": {"qa": {"type": "qa", "rounds": rounds}},
        "qa_pairs": {"from": str(write_jsonl(tmp_path / "pairs.jsonl", [{"question": "a", "answer": "b"}]))},
    }
    with pytest.raises(RecipeError, match=r"indexes\.qa.*rounds"):
        mnemodex.build(recipe, dry_run=True)
