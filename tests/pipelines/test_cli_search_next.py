"""`mnemodex search` of a next-token index: what comes next, and the contexts that say so."""

from __future__ import annotations

import pytest
from commands import assert_refused

PROMPT = "Apples from the orchard are stored in"


def test_people_see_the_contexts_with_the_next_token_and_its_weight(cli, library):
    ran = cli("search", library, "next", PROMPT, "-k", 3)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == PROMPT
    assert [line.split()[0] for line in lines[1:4]] == ["model", "neighbours", "mixed"]
    assert [line.split()[0] for line in lines[4:10:2]] == ["1", "2", "3"] and all("[" in line for line in lines[4:10:2])
    assert "Orchard" in lines[4] and "»" in lines[5] and "are stored in" in lines[5]


def test_the_json_has_chunks_tokens_weights_and_what_is_likely(cli, library):
    told = cli("search", library, "next", PROMPT, "The", "-k", 3, "--json").json
    assert told["index"] == "next" and len(told["hits"]) == len(told["next"]) == 2
    first = told["hits"][0][0]
    assert {"rank", "score", "chunk_id", "key", "title", "text"} < set(first)
    assert first["title"].startswith("Orchard") and first["before"].endswith("are stored in")
    assert first["token"] in first["text"] and first["distance"] == pytest.approx(-first["score"])
    assert sum(hit["weight"] for hit in told["hits"][0]) == pytest.approx(1)
    assert int(first["position"]) >= 0
    likely = told["next"][0]
    assert set(likely) == {"model", "neighbours", "mixed"}
    assert likely["neighbours"][0]["probability"] <= 1


def test_a_prompt_without_a_token_is_refused(cli, library):
    assert_refused(cli("search", library, "next", ""), saying="prompt '' has no token")


def test_a_filter_narrows_the_contexts(cli, library):
    told = cli("search", library, "next", PROMPT, "-k", 3, "--where", "key = 'mill-1'", "--json").json
    assert {hit["key"] for hit in told["hits"][0]} == {"mill-1"}
