"""`mnemodex serve` as users start and stop it."""

from __future__ import annotations

import json

import pytest
from serving import served


@pytest.mark.slow
@pytest.mark.ray
def test_it_answers_is_closed_to_others_and_leaves_nothing(library):
    with served(library) as server:
        status, answer = server.search("words", "Who winds the lamp?")
        assert status == 200 and answer["hits"][0][0]["key"].startswith("lighthouse")
        assert server.ask("/v1/search", {"index": "none", "queries": ["a"]})[0] == 404
        assert server.ask("/readyz") == (200, {"status": "ready", "problems": 0})
        # Ray Serve has one address for its own replicas, which takes a token.
        assert all(name.startswith("ray::ServeRepl") for _, name in server.listening())
        code, left = server.stop()
        assert (code, left) == (0, [])
        requests = [json.loads(line) for line in server.lines if line.startswith("{")]
        assert [line["status"] for line in requests if line.get("path") == "/v1/search"] == [200, 404]
        assert "Traceback" not in "".join(server.lines)
