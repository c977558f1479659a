"""The operation `ngrams`: phrases in, numbers, places and contexts out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.memories import Served
from mnemodex.deploy.operations.ngrams import NgramsForm, ngrams
from mnemodex.deploy.settings import Limits
from mnemodex.schemas.errors import AccessError, LimitError, QueryError

PHRASE = "the harbour"


@pytest.fixture(scope="module")
def served(memory):
    return Served("notes", memory, Limits(questions=4, k=50))


@pytest.fixture(scope="module")
def texts(memory):
    return dict(memory.sql("SELECT key, text FROM documents").fetchall())


def ask(served, access=OPEN, **request):
    return ngrams(served, NgramsForm(**{"index": "ngrams", "phrases": [PHRASE], **request}), access)


FILTERED = replace(OPEN, where="d.key LIKE 'harbour%'")


def occurrences(texts, phrase):
    return sum(text.lower().count(phrase) for text in texts.values())


def test_counts_are_those_of_the_texts(served, texts):
    answer = ask(served, phrases=[PHRASE, "bees winter", "no such phrase"])
    assert answer == {
        "memory": "notes",
        "snapshot": served.snapshot,
        "index": "ngrams",
        "counts": [occurrences(texts, PHRASE), occurrences(texts, "bees winter"), 0],
    }
    assert answer["counts"][0] > 4


def test_continuations_are_the_most_frequent_tokens_first_and_at_most_so_many(served):
    (following,) = ask(served, phrases=["the"], what="continuations", limit=3)["continuations"]
    counts = [one["count"] for one in following]
    assert len(following) == 3 and counts == sorted(counts, reverse=True)
    for one in following:
        assert ask(served, phrases=[f"the {one['text']}"])["counts"] == [one["count"]]


def test_places_say_where_a_phrase_is(served, texts, memory):
    answer = ask(served, what="locate", limit=50)
    (places,) = answer["places"]
    assert answer["counts"] == [len(places)] == [occurrences(texts, PHRASE)]
    assert {place["key"] for place in places} == {key for key, text in texts.items() if PHRASE in text.lower()}
    documents = dict(memory.sql("SELECT key, doc_id FROM documents").fetchall())
    chunks = {str(chunk) for (chunk,) in memory.sql("SELECT chunk_id FROM chunks").fetchall()}
    for place in places:
        assert place["doc_id"] == str(documents[place["key"]]) and place["chunk_id"] in chunks
        assert place["tokens"] == 2 and place["token"] >= 0


def test_places_of_a_phrase_are_at_most_so_many(served):
    assert [len(places) for places in ask(served, phrases=["the", "zzz"], what="locate", limit=3)["places"]] == [3, 0]


def test_a_concordance_quotes_the_texts(served, texts):
    (documents,) = ask(served, what="concordance", limit=5)["concordance"]
    assert len(documents) == 5
    for document in documents:
        for place in document["occurrences"]:
            assert texts[document["key"]][place["start"] : place["end"]] == place["phrase"]
            assert place["phrase"].lower() == PHRASE


def test_a_key_with_a_filter_has_the_concordance_of_its_documents_alone(served):
    (documents,) = ask(served, FILTERED, what="concordance", limit=50)["concordance"]
    assert documents and all(document["key"].startswith("harbour") for document in documents)
    for what in ("count", "continuations", "locate"):
        with pytest.raises(AccessError, match="cannot be filtered"):
            ask(served, FILTERED, what=what)


def test_an_access_that_is_for_something_else_is_refused(served):
    for access in (
        replace(OPEN, scopes=frozenset({"sql"})),
        replace(OPEN, memories=frozenset({"others"})),
        replace(OPEN, indexes=frozenset({"words"})),
    ):
        with pytest.raises(AccessError):
            ask(served, access)


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"phrases": []}, LimitError, "phrases"),
        ({"phrases": [PHRASE] * 5}, LimitError, "at most 4"),
        ({"limit": 51}, LimitError, "at most 50"),
        ({"phrases": [" "]}, QueryError, "phrase 0 has no token"),
        ({"phrases": ["a \ud800"]}, QueryError, "lone surrogate"),
        ({"index": "words"}, QueryError, "not of type ngram. Ask one of these: ngrams"),
        ({"index": "nothing"}, QueryError, "no index 'nothing'"),
    ],
)
def test_what_cannot_be_answered_is_refused(served, request_, error, message):
    with pytest.raises(error, match=message):
        ask(served, **request_)


@pytest.mark.parametrize("request_", [{"limit": 0}, {"what": "drop"}, {"phrases": "the"}, {"further": 1}])
def test_a_form_that_is_none_is_refused(request_):
    with pytest.raises(ValidationError):
        NgramsForm(**{"index": "ngrams", "phrases": [PHRASE], **request_})
