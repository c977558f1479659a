"""Filters of generated pairs: what a reader answers from the pair's own chunk, or from the hits of an index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builds import computed
from chat_server import ChatServer, Reply
from library import write_jsonl, write_parts
from passed_objects import Hashed
from word_generator import Calls

import mnemodex
from mnemodex.pipelines.ops import checkpoint
from mnemodex.pipelines.qa import filter as filter_module
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ChatServerError, MnemodexError, ModelError, NoAnswerError, RecipeError

pytestmark = pytest.mark.usefixtures("inline")

NOTES = [
    {"id": "red", "title": "A fox", "text": "The red fox slept"},
    {"id": "blue", "title": "Foxes", "text": "A blue fox meets fox after fox"},
    {"id": "moss", "title": "Moss", "text": "Green moss"},
]
ANSWERS = "SELECT question, answer, predicted, reason FROM qa_candidates ORDER BY question, answer"


class WordReader:
    """Answers what stands before a word by the first of the passages that has it."""

    asked: list[str] = []  # noqa: RUF012 - one list for all

    def read(self, questions, passages):
        self.asked.extend(questions)
        return [self._answer(*given) for given in zip(questions, passages, strict=True)]

    def _answer(self, question, passages):
        word = question.split()[-1].removesuffix("?")
        if word == "meets":
            return NoAnswerError("the server is tired; ask later")
        found = (re.search(rf"(\w+) {word}\b", text) for _, text in passages)
        return next((match[1] for match in found if match), None)


@pytest.fixture(autouse=True)
def _generator(packages):
    packages.install("word-generator", points={"mnemodex.generators": {"words": "word_generator:WORDS"}})
    Calls.clear()


@pytest.fixture
def _words(monkeypatch):
    monkeypatch.setattr(filter_module, "reader_of", lambda settings, work: WordReader())
    WordReader.asked.clear()


@pytest.fixture
def recipe(tmp_path):
    return {
        "source": {"path": str(write_parts(tmp_path / "notes", NOTES, 2))},
        "memory": str(tmp_path / "memory"),
        "embed": {"e": {}},
        "indexes": {"qa": {"type": "qa"}, "words": {"type": "bm25"}},
        "qa_pairs": {"generator": "words", "filter": {"by": "local"}},
    }


def build(recipe, **options):
    return mnemodex.build(recipe, encoders={"e": Hashed(24)}, **options)


def rows(recipe, query):
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(24)}).sql(query).fetchall()


def asked():
    """The words that the reader was asked about since the last call."""
    questions = [question.split()[-1].removesuffix("?") for question in WordReader.asked]
    WordReader.asked.clear()
    return sorted(questions)


@pytest.mark.usefixtures("_words")
def test_the_local_filter_reads_the_chunk_of_the_pair(recipe):
    result = build(recipe)
    tired = "the reader fails: the server is tired; ask later"
    assert rows(recipe, ANSWERS) == [
        ("What stands before after?", "fox", "fox", None),
        ("What stands before blue?", "A", None, "the answer has no word that counts"),
        ("What stands before fox?", "after", "blue", "the reader answers otherwise"),
        ("What stands before fox?", "blue", "blue", None),
        ("What stands before fox?", "meets", "blue", "the reader answers otherwise"),
        ("What stands before fox?", "red", "red", None),
        ("What stands before meets?", "fox", None, tired),
        ("What stands before moss?", "Green", "Green", None),
        ("What stands before red?", "The", None, "the answer has no word that counts"),
        ("What stands before slept?", "fox", "fox", None),
    ]
    assert rows(recipe, "SELECT count(*) FROM qa_pairs") == [(5,)]
    assert {step.name: step.note for step in result.steps}["qa_pairs: filter"] == "5 of 8 kept (62.5%)"
    failed = "qa_pairs: the reader failed at 1 of 8 candidates; the column `reason` of the table qa_candidates says why"
    assert failed in result.warnings
    assert verify(recipe["memory"]).problems == []
    assert computed(build(recipe)) == {}


@pytest.mark.usefixtures("_words")
def test_too_many_failures_of_the_reader_stop_a_build_and_the_next_one_asks_again(recipe, monkeypatch):
    recipe["qa_pairs"]["max_errors"] = 0
    with pytest.raises(MnemodexError, match=r"failed at 1 of 7 candidates.*is tired; ask later\. Correct that"):
        build(recipe)
    first = asked()
    monkeypatch.setattr(WordReader, "_answer", lambda self, question, passages: "fox")
    result = build(recipe)
    assert sorted(first + asked()) == ["after", "fox", "fox", "fox", "fox", "meets", "meets", "moss", "slept"]
    assert not any("failed" in warning for warning in result.warnings)


@pytest.mark.usefixtures("_words")
def test_the_global_filter_reads_what_an_index_finds(recipe):
    recipe["qa_pairs"]["filter"] = {"index": "words", "k": 1}
    result = build(recipe)
    of_foxes = [row for row in rows(recipe, ANSWERS) if row[0] == "What stands before fox?"]
    away = "; the chunk is not among the passages"
    assert of_foxes == [
        ("What stands before fox?", "after", "blue", "the reader answers otherwise"),
        ("What stands before fox?", "blue", "blue", None),
        ("What stands before fox?", "meets", "blue", "the reader answers otherwise"),
        ("What stands before fox?", "red", "blue", "the reader answers otherwise" + away),
    ]
    note = {step.name: step.note for step in result.steps}["qa_pairs: filter"]
    # BM25 leaves "after" out, and finds nothing for it.
    assert note == "3 of 8 kept (37.5%); the chunk was among the passages of 75.0%"
    assert verify(recipe["memory"]).problems == []
    recipe["qa_pairs"]["filter"]["k"] = 2
    assert set(computed(build(recipe))) >= {"qa_pairs: filter", "qa_pairs"}
    reasons = "SELECT predicted, reason FROM qa_candidates WHERE answer = 'red'"
    assert rows(recipe, reasons) == [("blue", "the reader answers otherwise")]


@pytest.mark.usefixtures("_words")
@pytest.mark.parametrize("index", ["dense", "both"])
def test_any_index_of_vectors_or_words_is_searched(recipe, index):
    recipe["indexes"] |= {"dense": {"type": "dense"}, "both": {"type": "hybrid", "of": ["dense", "words"]}}
    recipe["qa_pairs"]["filter"] = {"index": index, "k": 3}
    build(recipe)
    assert rows(recipe, "SELECT count(*) FROM qa_pairs") == [(4,)]


@pytest.mark.usefixtures("_words")
def test_what_was_judged_is_not_judged_again_when_the_corpus_grows(recipe, tmp_path):
    recipe["qa_pairs"]["filter"] = {"index": "words", "k": 1}
    build(recipe)
    assert len(asked()) == 8
    before = rows(recipe, ANSWERS)
    # For this question it is found before the others.
    write_jsonl(tmp_path / "notes" / "part-2.jsonl", [{"id": "slept", "text": "Cat slept slept slept"}])
    assert computed(build(recipe))["qa_pairs: filter"] == 3
    # The reader failed at the first one.
    assert asked() == ["meets", "slept"]
    assert set(before) < set(rows(recipe, ANSWERS))
    recipe["indexes"]["words"]["k1"] = 0.5
    build(recipe)
    assert len(asked()) == 9
    write_jsonl(tmp_path / "notes" / "part-2.jsonl", [])
    recipe["qa_pairs"]["filter"] = {"by": "local"}
    build(recipe)
    assert len(asked()) == 8


@pytest.mark.usefixtures("_words")
def test_a_second_try_goes_on_within_the_partition(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(filter_module, "_WINDOW", 2)
    monkeypatch.setattr(checkpoint, "SECONDS", -1.0)
    read = WordReader.read

    def stopped(self, questions, passages):
        if "What stands before after?" in questions:
            raise KeyboardInterrupt
        return read(self, questions, passages)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WordReader, "read", stopped)
        build(recipe)
    first = asked()
    build(recipe)
    # What the reader failed at is tried again.
    assert sorted(first + asked()) == ["after", "fox", "fox", "fox", "fox", "meets", "meets", "moss", "slept"]
    again = rows(recipe, ANSWERS)
    build(recipe | {"memory": str(tmp_path / "fresh")})
    assert rows(recipe | {"memory": str(tmp_path / "fresh")}, ANSWERS) == again


def test_passages_that_a_model_does_not_read_are_counted(recipe):
    def answer(request):
        long = "Moss" in request["messages"][-1]["content"] and "Foxes" in request["messages"][-1]["content"]
        return Reply(status=400, message="the prompt is too long") if long else "Green"

    with ChatServer(answer) as server:
        chosen = {"index": "words", "k": 2, "server": {"model": "small", "base_url": server.url}}
        recipe["qa_pairs"]["filter"] = chosen
        write_jsonl(Path(recipe["source"]["path"]) / "part-2.jsonl", [{"id": "x", "title": "Foxes", "text": "x moss"}])
        warnings = build(recipe).warnings
    # Two candidates ask the same.
    assert [warning for warning in warnings if warning.startswith("qa_pairs: 2 passages are left out of what")], (
        warnings
    )


def test_answers_of_a_server_are_kept_one_by_one(recipe):
    answered = []

    def answer(request):
        if len(answered) == 3:
            return Reply(status=401)
        answered.append(request["messages"][-1]["content"])
        return "unknown" if "before slept" in answered[-1] else "Fox."

    with ChatServer(answer) as server:
        recipe["qa_pairs"]["filter"]["server"] = {"model": "small", "base_url": server.url}
        with pytest.raises(ChatServerError):
            build(recipe)
        first = list(answered)
        answered.clear()
        answered.extend("none" for _ in range(4))
        build(recipe)
        assert not set(first) & set(answered)
    verdicts = {question: (predicted, reason) for question, _, predicted, reason in rows(recipe, ANSWERS)}
    assert verdicts["What stands before after?"] == ("Fox", None)
    assert verdicts["What stands before moss?"] == ("Fox", "the reader answers otherwise")
    assert verdicts["What stands before slept?"] == (None, "the reader finds no answer")


def test_a_server_that_does_not_answer_is_told_before_any_work(recipe):
    recipe["qa_pairs"]["filter"]["server"] = {"model": "small", "base_url": "http://localhost:1/v1"}
    with pytest.raises(ChatServerError, match="localhost:1"):
        build(recipe)
    assert Calls.generated == []


@pytest.mark.parametrize(
    ("filter_", "error", "message"),
    [
        (
            {"index": "grams"},
            RecipeError,
            r"qa_pairs\.filter\.index names 'grams', of type ngram; indexes over chunks that a build can search",
        ),
        (
            {"index": "mixed"},
            RecipeError,
            r"qa_pairs\.filter\.index names 'mixed', of type hybrid with 'qa'; indexes over chunks that a build can",
        ),
        ({"by": "local", "model": "no/where/at/all"}, ModelError, "no such file or folder"),
    ],
)
def test_a_filter_that_cannot_be_built_is_refused(recipe, filter_, error, message):
    recipe["indexes"] |= {"grams": {"type": "ngram"}, "mixed": {"type": "hybrid", "of": ["words", "qa"]}}
    recipe["qa_pairs"]["filter"] = filter_
    with pytest.raises(error, match=message):
        build(recipe)
    assert Calls.generated == []
