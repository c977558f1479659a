"""The HTTP application: what it answers, and how it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.errors import hide_paths
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import Limits, ServerSettings

QUESTIONS = ["Who winds the lamp?", "slate from the quarry"]
SEARCHED = ("flat", "hnsw", "words", "ngrams", "keys", "bridge", "hipporag2", "asked", "hops", "both", "all", "next")


def error(answer, code):
    """What an answer says is wrong; it has a remedy and no path."""
    found = answer["error"]
    assert found["code"] == code and found["message"] and found["remedy"], found
    assert found.keys() == {"code", "message", "remedy"}
    return found["message"]


class TestSearch:
    @pytest.mark.parametrize("index", SEARCHED)
    def test_hits_are_those_of_the_command_line(self, post, cli, library, index):
        asked = post("search", index=index, queries=QUESTIONS, k=3, explain=True)
        printed = cli("search", library, index, *QUESTIONS, "-k", 3, "--explain", "--json").json
        assert asked == {"memory": "library", "snapshot": "000001", **printed}

    def test_a_filter_restricts_the_hits(self, post):
        hits = post("search", index="words", queries=["keeper"], where="d.key LIKE 'lighthouse%'")["hits"][0]
        assert hits and all(hit["key"].startswith("lighthouse") for hit in hits)

    def test_a_hit_names_its_place_in_its_document(self, post):
        hit = post("search", index="words", queries=["keeper"], k=1)["hits"][0][0]
        document = post("fetch", keys=[hit["key"]])["documents"][0]
        assert document["text"][hit["start"] : hit["end"]] == hit["text"] and document["doc_id"] == hit["doc_id"]

    def test_hits_of_another_kind_than_asked_for_are_refused(self, post):
        assert "chunk" in error(post("search", 400, index="words", queries=["x"], kind="pair"), "bad_query")
        assert post("search", index="asked", queries=["x"], kind="pair")["hits"]


class TestFetch:
    def test_documents_come_in_the_order_of_their_keys(self, post):
        answer = post("fetch", keys=["mill-2", "nothing", "bakery-1", "mill-2"])
        assert [document["key"] for document in answer["documents"]] == ["mill-2", "bakery-1"]
        assert answer["missing"] == ["nothing"] and answer["chunks"] == []
        assert answer["documents"][0]["metadata"]["year"] == 1902

    def test_chunks_are_those_of_the_hits(self, post):
        hits = post("search", index="words", queries=["keeper"], k=3)["hits"][0]
        ids = [hit["chunk_id"] for hit in hits]
        chunks = post("fetch", chunk_ids=[*ids, "7", "no number", "9" * 30])
        ranks = [{"rank": hit["rank"], "score": hit["score"]} for hit in hits]
        assert [{**chunk, **rank} for chunk, rank in zip(chunks["chunks"], ranks, strict=True)] == hits
        assert chunks["missing"] == ["7", "no number", "9" * 30]

    @pytest.mark.parametrize("body", [{}, {"keys": ["a"], "chunk_ids": ["1"]}])
    def test_it_takes_either_keys_or_chunks(self, post, body):
        error(post("fetch", 422, **body), "invalid")


class TestEmbed:
    def test_vectors_are_those_of_the_encoder(self, post, memory):
        answer = post("embed", texts=QUESTIONS)
        encoder = memory.encoder(answer["embedding"])
        assert np.allclose(answer["vectors"], encoder.encode_queries(QUESTIONS), atol=1e-6)
        assert answer["dimension"] == encoder.dimension == len(answer["vectors"][0])

    def test_an_embedding_that_is_not_there_is_refused(self, post):
        error(post("embed", 400, texts=["a"], embedding="none"), "bad_query")


class TestIndexes:
    def test_it_lists_what_the_memory_holds(self, client, memory):
        (told,) = client.get("/v1/indexes").json()["memories"]
        assert (told["name"], told["snapshot"]) == ("library", "000001")
        assert [index["name"] for index in told["indexes"]] == memory.indexes
        rows = {table["name"]: table["rows"] for table in told["tables"]}
        assert rows["documents"] == memory.sql("SELECT count(*) FROM documents").fetchall()[0][0]

    def test_settings_hold_no_path_of_the_machine(self, client, library):
        assert str(library.parent) not in client.get("/v1/indexes").text


class TestRefusals:
    def test_an_unknown_index(self, post):
        message = error(post("search", 404, index="none", queries=["x"]), "unknown_index")
        assert message.startswith("library: no index 'none'")

    def test_an_unknown_memory(self, post):
        error(post("search", 404, index="words", queries=["x"], memory="none"), "unknown_memory")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"index": "words", "queries": []}, "limit"),
            ({"index": "words", "queries": ["x"] * 65}, "limit"),
            ({"index": "words", "queries": ["x"], "k": 1_000_000}, "limit"),
            ({"index": "words", "queries": ["x"], "k": 0}, "invalid"),
            ({"index": "words", "queries": "x"}, "invalid"),
            ({"index": "words"}, "invalid"),
            ({"index": "words", "queries": ["x"], "other": 1}, "invalid"),
            ({"index": "words", "queries": ["\ud800"]}, "not_json"),
            ({"index": "words", "queries": ["x"], "where": "no such column"}, "bad_query"),
            ({"index": "words", "queries": ["x"], "where": "true) OR (true"}, "bad_query"),
        ],
    )
    def test_a_request_that_asks_for_the_wrong_thing(self, client, body, code):
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/search", content=json.dumps(body), headers=headers)
        assert answer.status_code in {400, 422}, answer.text
        error(answer.json(), code)

    def test_a_body_that_is_no_json(self, client):
        headers = {"Content-Type": "application/json"}
        for content in (b"", b"{", b"\xff\xfe", b"[1]", b'"text"', b"[" * 100_000):
            assert client.post("/v1/search", content=content, headers=headers).status_code in {400, 422}

    def test_a_body_that_is_not_said_to_be_json(self, client):
        answer = client.post("/v1/search", content=b"index=words")
        assert answer.status_code == 415
        error(answer.json(), "media_type")

    def test_a_body_that_is_too_large(self, client):
        answer = client.post("/v1/search", json={"index": "words", "queries": ["x" * (1 << 20)]})
        assert answer.status_code == 413
        error(answer.json(), "too_large")

    def test_addresses_and_methods_that_are_not_there(self, client):
        assert error(client.get("/nothing").json(), "not_found")
        assert error(client.get("/v1/search").json(), "method")

    def test_what_fails_inside_tells_nothing(self, client, service, monkeypatch):
        def fail(name, form, access):
            raise RuntimeError("secret")

        monkeypatch.setattr(service, "run", fail)
        answer = client.post("/v1/search", json={"index": "words", "queries": ["x"]})
        assert answer.status_code == 500 and "secret" not in answer.text
        error(answer.json(), "internal")

    def test_what_takes_too_long_is_given_up(self, library):
        settings = ServerSettings(memories={"library": library}, limits=Limits(seconds=1e-6))
        with TestClient(http_app(settings, Service(settings)), base_url="http://127.0.0.1") as client:
            answer = client.post("/v1/search", json={"index": "words", "queries": ["x"]})
        assert answer.status_code == 504
        error(answer.json(), "timeout")


class TestEnvelope:
    def test_a_request_keeps_its_id(self, client):
        assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"

    def test_a_strange_id_is_replaced(self, client):
        for strange in ("a b", "<b>", "x" * 65):
            assert client.get("/healthz", headers={"X-Request-Id": strange}).headers["x-request-id"] != strange

    def test_errors_have_an_id_too(self, client):
        assert client.get("/nothing").headers["x-request-id"]


class TestHealth:
    def test_it_is_ready_when_its_memories_are_warm(self, library):
        settings = ServerSettings(memories={"library": library})
        service = Service(settings)
        with TestClient(http_app(settings, service), base_url="http://127.0.0.1") as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 503
            service.warm()
            assert client.get("/readyz").status_code == 200

    def test_the_interface_is_described(self, client):
        described = client.get("/openapi.json").json()
        assert {"/v1/search", "/v1/fetch", "/v1/embed", "/v1/indexes"} <= described["paths"].keys()
        assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("model '/srv/models of mine/tiny': no such file", "model '…/tiny': no such file"),
        ("/var/lib/sea/CURRENT: is damaged; restore it", "…/CURRENT: is damaged; restore it"),
        ("index words: (/data/a/b.npy) differs", "index words: (…/b.npy) differs"),
        ("see http://example.org/a/b and /docs, or a/b/c", "see http://example.org/a/b and /docs, or a/b/c"),
    ],
)
def test_messages_name_no_path_of_the_machine(message, shown):
    assert hide_paths(message, {}) == shown
