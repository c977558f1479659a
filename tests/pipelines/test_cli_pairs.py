"""`search`, `eval` and `compare` of an index of pairs: rounds, passages of a fallback, filters and kinds."""

from __future__ import annotations

import json

import pytest
from commands import assert_refused
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
            "one": {"type": "qa", "answer": "nearest"},
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


class TestEval:
    ROWS = (
        {"id": "1", "question": HOPS, "answers": ["Victoria Falls"], "kind": "hops"},
        {"id": "2", "question": HOPS, "answers": ["Zimbabwe"], "kind": "river", "where": "d.key = 'rivers'"},
        {"id": "3", "question": "In which country is the Bubye River?", "answers": ["zimbabwe"], "kind": "river"},
        {"id": "4", "question": "Why?"},
    )

    def test_each_question_has_its_filter_and_each_kind_its_figures(self, cli, memory, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        result = cli("eval", memory, "one", "--queries", queries, "-k", 1, "--json").json
        assert (result["queries"], result["queries_without_answers"]) == (3, 1)
        kinds = {kind: metrics["EM"] for kind, metrics in result["by_kind"].items()}
        assert kinds == {"hops": 0, "river": 1} and result["metrics"]["EM"] == pytest.approx(2 / 3)
        assert "river" in cli("eval", memory, "one", "--queries", queries).out

    def test_questions_are_encoded_once(self, memory, monkeypatch):
        from mnemodex.retrievers.qa.evaluation import evaluate_answers
        from mnemodex.retrievers.queries import Query

        opened = mnemodex.open(memory)
        encoder, texts = opened.encoder("minilm"), []
        encode = encoder.encode_queries
        monkeypatch.setattr(encoder, "encode_queries", lambda some: texts.extend(some) or encode(some))
        first, second = (Query(str(n), question, {}, ("x",)) for n, question in enumerate(["why", "when"]))
        evaluate_answers(opened.retriever("one"), [first, second])
        # The first one also before the clock starts.
        assert texts == ["why", "why", "when"]

    def test_two_indexes_of_pairs_are_compared_question_by_question(self, cli, memory, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        ran = cli("compare", memory, "one", "qa", "--queries", queries, "--json")
        measures = ran.json["metrics"]
        assert list(measures) == ["EM", "F1", "hits@1", "hits@10", "hits@50"] and ran.json["k"] == 50
        assert (measures["EM"]["first"], measures["EM"]["better"]) == (pytest.approx(2 / 3), 1)
        assert measures["EM"]["low"] <= measures["EM"]["difference"] <= measures["EM"]["high"]
        assert "1 queries without answers are left out" in ran.err
        assert (
            "qa against one: 3 queries, k = 2" in cli("compare", memory, "one", "qa", "--queries", queries, "-k", 2).out
        )

    def test_pairs_and_passages_are_not_compared(self, cli, memory, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        ran = cli("compare", memory, "one", "words", "--queries", queries)
        assert_refused(
            ran, saying="index 'words' is measured with questions; compare two indexes over documents, or two"
        )
        ran = cli("compare", memory, "one", "qa", "--queries", queries, "--exclude-self")
        assert_refused(ran, saying="index 'one' is of type qa: --exclude-self is not for it")
