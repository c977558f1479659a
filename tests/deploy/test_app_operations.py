"""What the server answers over HTTP about phrases, next tokens and SQL."""

from __future__ import annotations

import numpy as np
import pytest
from sql_attacks import ATTACKS
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings
from mnemodex.schemas.packed import Packed


@pytest.fixture(scope="module")
def sql_client(library):
    service = Service(ServerSettings(memories={"library": library}, sql=True))
    with TestClient(
        http_app(service.settings, service), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as made:
        yield made


def test_phrases_are_counted(post, memory):
    answer = post("ngrams", index="ngrams", phrases=["the harbour"])
    assert answer["counts"] == memory.retriever("ngrams").count(["the harbour"]).tolist()


def test_neighbours_are_found_in_a_datastore(post, memory):
    datastore = memory.retriever("next")
    keys = np.ones((2, datastore.info.dimension), np.float32)
    listed = post("next-token", index="next", keys=keys.tolist(), k=3)
    packed = post("next-token", index="next", keys=Packed.of(keys).to_json(), k=3)
    assert listed["tokens"] == Packed(**packed["tokens"]).array("tokens", "int32").tolist()
    assert listed["tokens"] == datastore.nearest(keys, 3).tokens.tolist()


@pytest.mark.parametrize(
    ("operation", "body", "status"),
    [
        ("ngrams", {"index": "ngrams", "phrases": [""]}, 400),
        ("ngrams", {"index": "words", "phrases": ["a"]}, 400),
        ("next-token", {"index": "next", "keys": [[1.0]]}, 400),
        ("next-token", {"index": "next"}, 400),
        ("next-token", {"index": "next", "keys": [["a"]]}, 422),
    ],
)
def test_what_cannot_be_answered_is_the_askers_fault(post, operation, body, status):
    assert post(operation, status, **body)["error"]["remedy"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_key_that_is_no_number_is_refused(client, memory, number):
    keys = ",".join([number, *["0"] * (memory.retriever("next").info.dimension - 1)])
    body = f'{{"index": "next", "keys": [[{keys}]]}}'
    answer = client.post("/v1/next-token", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422) and answer.json()["error"]["message"]


def test_sql_is_off_by_default(post):
    assert "--sql" in post("sql", 403, query="SELECT 1")["error"]["remedy"]


def test_sql_is_answered_by_rows(sql_client):
    answer = sql_client.post("/v1/sql", json={"query": "SELECT count(*) AS documents FROM documents"}).json()
    assert answer == {
        "memory": "library",
        "snapshot": "000001",
        "columns": ["documents"],
        "rows": [[56]],
        "truncated": False,
    }


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_by_sql_is_the_askers_fault_and_learns_no_path(sql_client, library, kind):
    for query in ATTACKS[kind]:
        answer = sql_client.post("/v1/sql", json={"query": query})
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_query", (query, answer.text)
        assert str(library) not in answer.text and str(library.parent) not in answer.text
