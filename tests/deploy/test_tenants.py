"""Keys with a filter: whatever they ask, they see nothing of the rows of others."""

from __future__ import annotations

import re

import pytest
from library import records

from mnemodex.deploy.access import Access
from mnemodex.deploy.operations.search import SearchForm

OWN = ("harbour", "lighthouse", "bakery")
TENANT = Access(
    key_name="tenant", scopes=frozenset({"search", "answer"}), where="d.key SIMILAR TO '(harbour|lighthouse|bakery)-.*'"
)
OTHERS = Access(key_name="others", scopes=frozenset({"search"}), where="d.key LIKE 'mill-%'")
INDEXES = [
    "flat",
    "words",
    "ngrams",
    "keys",
    "bridge",
    "hipporag2",
    "lite",
    "next",
    "asked",
    "hops",
    "reranked",
    "both",
    "all",
]
QUESTIONS = [
    "Who winds the lamp?",
    "Saturn through the telescope",
    "slate from the quarry",
    "keeper",
    "orchard straw",
    "the",
]


def words(texts):
    return {word for text in texts for word in re.findall(r"\w{5,}", text.casefold())}


def is_own(record):
    return record["id"].partition("-")[0] in OWN


def said(record):
    return f"{record['id']} {record['title']} {record['text']}"


FOREIGN = words(said(record) for record in records() if not is_own(record)) - words(
    said(record) for record in records() if is_own(record)
)
"""Words that only the documents of others have."""


def check_own(answer, *asked):
    """That an answer has no word of others, but for those that were asked."""
    found = FOREIGN & words(texts_of(answer)) - words(asked)
    assert not found, found


def texts_of(value):
    """All texts of an answer, without the names of its fields."""
    if isinstance(value, dict | list):
        return [text for part in (value.values() if isinstance(value, dict) else value) for text in texts_of(part)]
    return [str(value)]


@pytest.fixture
def ask(service):
    import asyncio

    def run(name, form, access=TENANT):
        return asyncio.run(service.run(name, form, access))

    return run


class TestATenant:
    @pytest.mark.parametrize("index", INDEXES)
    @pytest.mark.parametrize("where", [None, "true", "d.year > 0 OR true", "d.key LIKE 'mill-%' OR text LIKE '%a%'"])
    def test_finds_its_own_rows_alone_and_no_reason_of_others(self, ask, index, where):
        form = SearchForm(index=index, queries=QUESTIONS, k=50, where=where, explain=True)
        answer = ask("search", form)
        hits = [hit for row in answer["hits"] for hit in row]
        assert hits and all(hit["key"].partition("-")[0] in OWN for hit in hits)
        check_own(hits, *QUESTIONS)
