"""Builds with an encoder behind a server: it is asked before anything is computed."""

from __future__ import annotations

import pytest
from chat_server import Reply
from embedding_server import MODEL, EmbeddingServer
from library import records, write_jsonl

import mnemodex
from mnemodex.schemas.errors import ModelError

pytestmark = pytest.mark.usefixtures("inline")


def build(tmp_path, server, **settings):
    source = write_jsonl(tmp_path / "notes.jsonl", records()[:3])
    served = {"encoder": "openai", "model": MODEL, "base_url": server.url, "max_retries": 0, **settings}
    recipe = {"source": str(source), "memory": str(tmp_path / "memory"), "embed": {"served": served}}
    return mnemodex.build({**recipe, "indexes": {"flat": {"type": "dense", "factory": "Flat"}}})


@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        ((Reply(status=401, message="who?"),), {}, r"answers 401 \(who\?\); put its key"),
        ((Reply(body="{}", drip=0.05),), {"timeout": 0.3}, "no answer within 0.3 s"),
        ((Reply(body='{"error": "out of credit"}'),), {}, "out of credit"),
        ((), {"model": "large"}, "the model large does not exist"),
    ],
)
def test_a_server_that_gives_no_vector_is_told_before_anything_is_computed(tmp_path, script, settings, message):
    with EmbeddingServer(script=script) as server, pytest.raises(ModelError, match=message):
        build(tmp_path, server, **settings)
    assert len(server.requests) == 1 and not list((tmp_path / "memory").rglob("documents*"))


def test_dimensions_are_asked_for_before_a_build(tmp_path):
    with EmbeddingServer() as server:
        build(tmp_path, server, dimensions=4)
        assert server.texts[0] == ["dimension"] and server.requests[0]["dimensions"] == 4
        asked = len(server.requests)
        build(tmp_path, server, dimensions=4)
        assert len(server.requests) == asked
