"""`search` of an index of pairs: the evidence of rounds, and passages of a fallback."""

from __future__ import annotations

import json

import pytest
from library import write_jsonl, write_parts

import mnemodex

NOTES = [
    {"id": "rivers", "title": "Rivers", "text": "The Bubye River is in Zimbabwe."},
    {"id": "quay", "title": "Quay", "text": "Nobody sleeps near the quay."},
]
PAIRS = [
    {"question": "In which country is the Bubye River?", "answer": "Zimbabwe", "passage_id": "rivers"},
    {"question": "What is the waterfall in Zimbabwe called?", "answer": "Victoria Falls"},
]
HOPS = "What is the waterfall called in the country where the Bubye River is?"
ASKED = [
    {"id": "1", "question": HOPS, "answers": ["Victoria Falls"]},
    {"id": "2", "question": "who sleeps near the quay", "answers": ["nobody"]},
]


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    abstain = {"queries": str(write_jsonl(folder / "asked.jsonl", ASKED)), "coverage": 0.5}
    recipe = {
        "source": {"path": str(write_parts(folder / "notes", NOTES, 1))},
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", PAIRS))},
        "indexes": {
            "qa": {"type": "qa", "rounds": 2, "abstain": abstain, "fallback": "words"},
            "words": {"type": "bm25"},
        },
    }
    mnemodex.build(recipe, local=True)
    return recipe["memory"]


def test_the_evidence_of_a_pair_is_printed_with_its_rounds(cli, memory):
    ran = cli("search", memory, "qa", HOPS, "-k", 1, "--explain")
    _, question, answer, second, first = filter(None, ran.out.splitlines())
    assert question.endswith("What is the waterfall in Zimbabwe called?") and answer.strip() == "Victoria Falls"
    assert second.endswith("»What is the waterfall in Zimbabwe called?«  question of round 2")
    assert first.endswith("»In which country is the Bubye River?: Zimbabwe«  round 1")


def test_passages_are_printed_where_no_pair_is_sure(cli, memory):
    ran = cli("search", memory, "qa", "who sleeps near the quay", "-k", 1)
    question, note, passage, text = filter(None, ran.out.splitlines())
    assert (question, note) == (
        "who sleeps near the quay",
        "no pair of qa answers this for sure; passages of words:",
    )
    assert passage.split()[-2:] == ["Quay", "[quay]"] and text.strip() == "Nobody sleeps near the quay."


def test_json_says_what_comes_from_passages(cli, memory):
    answer = json.loads(cli("search", memory, "qa", HOPS, "who sleeps near the quay", "-k", 1, "--json").out)
    assert (answer["source"], answer["fallback"]) == (["pairs", "passages"], "words")
    assert [[passage["key"] for passage in row] for row in answer["passages"]] == [[], ["quay"]]
    assert answer["hits"][0][0]["answers"] == ["Victoria Falls"] and len(answer["hits"][1]) == 1
