"""How a server refuses: keys, hosts, and what asks for the wrong thing."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from request_fuzzing import assert_no_path
from sql_attacks import ATTACKS
from starlette.testclient import TestClient

from mnemodex.deploy.app import http_app
from mnemodex.deploy.guard import OPEN_PATHS
from mnemodex.deploy.key_file import Key, add_key, new_token, now, revoke_key
from mnemodex.deploy.settings import ServerSettings, name_memories
from mnemodex.schemas.errors import UserError

SEARCH = {"index": "words", "queries": ["keeper"], "k": 2}


def error(answer, status, code):
    """What a refusal says; it has a code and a remedy, and names no path of the machine."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"]
    found = answer.json()["error"]
    assert found["code"] == code and found["message"] and found["remedy"], found
    assert_no_path(answer.text)
    return found["message"]


class Keyring:
    """A file of keys, and clients that have one each."""

    def __init__(self, path, client):
        self.path = path
        self._client = client

    def add(self, name, **fields):
        token, digest = new_token()
        given = {"name": name, "sha256": digest, "created": now(), "scopes": ["search"]} | fields
        add_key(self.path, Key.model_validate(given))
        return token

    def ask(self, token, path="/v1/search", body=SEARCH, method="POST"):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._client.request(method, path, json=body if method == "POST" else None, headers=headers)


@pytest.fixture
def keyring(service, tmp_path):
    path = tmp_path / "keys.json"
    _, digest = new_token()
    add_key(path, Key(name="first", sha256=digest, created=now(), scopes=["search"]))
    settings = service.settings.model_copy(update={"keys": path, "audit": tmp_path / "audit.jsonl", "host": "0.0.0.0"})
    with TestClient(
        http_app(settings, service), base_url="http://example.org", raise_server_exceptions=False
    ) as client:
        yield Keyring(path, client)


class TestKeys:
    def test_are_asked_for_at_every_address_but_the_open_ones(self, keyring):
        schema = keyring.ask(None, "/openapi.json", method="GET").json()
        asked = [(path, method.upper()) for path, methods in schema["paths"].items() for method in methods]
        assert ("/v1/search", "POST") in asked and ("/v1/indexes", "GET") in asked
        for path, method in asked:
            if path in OPEN_PATHS:
                continue
            answer = keyring.ask(None, path, method=method)
            assert "no key" in error(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        error(keyring.ask(None, "/v1/no-such-address"), 401, "unauthorized")
        error(keyring.ask(None, "/mcp"), 401, "unauthorized")

    def test_let_who_has_one_in(self, keyring):
        assert keyring.ask(keyring.add("reader")).json()["hits"][0]

    @pytest.mark.parametrize("token", ["", "mnx_wrong", "a" * 10_000, "ÿ"])
    def test_that_are_wrong_are_refused(self, keyring, token):
        headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
        error(keyring._client.post("/v1/search", json=SEARCH, headers=headers), 401, "unauthorized")

    def test_that_are_revoked_are_refused_from_the_next_request_on(self, keyring):
        token = keyring.add("reader")
        assert keyring.ask(token).status_code == 200
        revoke_key(keyring.path, "reader")
        assert "revoked" in error(keyring.ask(token), 401, "unauthorized")

    def test_without_the_scope_are_refused(self, keyring):
        token = keyring.add("writer", scopes=["answer"])
        assert "no scope 'search'" in error(keyring.ask(token), 403, "forbidden")

    def test_of_another_memory_or_index_are_refused_and_told_no_name_of_it(self, keyring):
        other = keyring.add("other", memories=["harbour"])
        for memory in (None, "library", "none"):
            text = error(keyring.ask(other, body={**SEARCH, "memory": memory}), 403, "forbidden")
            assert "library" not in text.replace(repr(memory), "")
        assert keyring.ask(other, "/v1/indexes", method="GET").json()["memories"] == []
        limited = keyring.add("limited", indexes=["flat"])
        for index in ("words", "none"):
            error(keyring.ask(limited, body={**SEARCH, "index": index}), 403, "forbidden")
        (memory,) = keyring.ask(limited, "/v1/indexes", method="GET").json()["memories"]
        assert [index["name"] for index in memory["indexes"]] == ["flat"]

    def test_of_some_rows_or_indexes_see_no_problem_that_names_others(self, keyring, service, monkeypatch):
        monkeypatch.setitem(service.memories.problems, "library", "index 'flat': is damaged")
        some = [{"indexes": ["words"]}, {"where": "d.key LIKE 'mill%'"}]
        for number, (fields, seen) in enumerate([({}, "index 'flat': is damaged"), *((one, None) for one in some)]):
            token = keyring.add(f"key-{number}", **fields)
            (memory,) = keyring.ask(token, "/v1/indexes", method="GET").json()["memories"]
            assert memory["problem"] == seen

    def test_that_ask_too_often_are_told_when_to_ask_again(self, keyring):
        token = keyring.add("hasty", rate=0.01)
        assert keyring.ask(token).status_code == 200
        answer = keyring.ask(token)
        assert "'hasty'" in error(answer, 429, "rate")
        assert 1 <= int(answer.headers["retry-after"]) <= 100
        assert keyring.ask(keyring.add("patient")).status_code == 200

    def test_and_what_is_asked_are_not_in_logs(self, keyring, caplog):
        token = keyring.add("reader")
        with caplog.at_level("DEBUG"):
            keyring.ask(token, body={**SEARCH, "queries": ["a confidential question"], "memory": "library"})
            keyring.ask("mnx_a-wrong-key", body={**SEARCH, "queries": ["a confidential question"]})
        log = (keyring.path.parent / "audit.jsonl").read_text()
        refused, asked = (json.loads(line) for line in log.splitlines()[::-1])
        assert (asked["key"], asked["operation"], asked["memory"], asked["index"]) == (
            "reader",
            "search",
            "library",
            "words",
        )
        assert (asked["questions"], asked["status"]) == (1, 200) and asked["ms"] > 0 and asked["request"]
        assert (refused["key"], refused["status"]) == (None, 401)
        for text in (log, caplog.text):
            assert token not in text and "confidential" not in text and "a-wrong-key" not in text


class TestAnAddress:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
    def test_that_others_reach_is_not_served_without_keys(self, library, host):
        with pytest.raises(ValidationError, match="keys add"):
            ServerSettings(memories={"library": library}, host=host)

    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]:8000"])
    def test_of_this_machine_is_asked_without_keys(self, client, host):
        assert client.post("/v1/search", json=SEARCH, headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["attacker.example", "attacker.example:8000", "127.0.0.1.attacker.example", "", "x" * 999]
    )
    @pytest.mark.parametrize("path", ["/v1/search", "/", "/v1/indexes"])
    def test_by_another_name_is_refused_without_keys(self, client, host, path):
        # A page of the web whose name points to this machine would else read a memory through the browser.
        error(client.post(path, json=SEARCH, headers={"Host": host}), 403, "host")

    def test_is_for_no_page_of_another_site(self, client):
        asked = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
        allowed = client.options("/v1/search", headers=asked).headers
        assert not [name for name in allowed if name.startswith("access-control")]
        plain = client.post("/v1/search", content=json.dumps(SEARCH), headers={"Content-Type": "text/plain"})
        error(plain, 415, "media_type")


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "status", "code"),
        [
            ({"k": 1_000_000}, 422, "limit"),
            ({"k": 10**30}, 422, "limit"),
            ({"k": -1}, 422, "invalid"),
            ({"k": "many"}, 422, "invalid"),
            ({"queries": ["a"] * 1000}, 422, "limit"),
            ({"queries": []}, 422, "limit"),
            ({"queries": [1]}, 422, "invalid"),
            ({"index": "none"}, 404, "unknown_index"),
            ({"index": "../../etc/passwd"}, 404, "unknown_index"),
            ({"memory": "none"}, 404, "unknown_memory"),
            ({"memory": "../library"}, 404, "unknown_memory"),
            ({"where": "1=1) OR (1=1"}, 400, "bad_query"),
            ({"where": "no_such_column = 1"}, 400, "bad_query"),
            ({"where": "d.key"}, 400, "bad_query"),
            ({"where": "read_text('/etc/passwd') = 'a'"}, 400, "bad_query"),
            ({"unknown": 1}, 422, "invalid"),
        ],
    )
    def test_is_refused_with_a_remedy(self, client, change, status, code):
        error(client.post("/v1/search", json=SEARCH | change), status, code)

    @pytest.mark.parametrize(
        ("content", "status", "code"),
        [
            (b"", 400, "not_json"),
            (b"{", 400, "not_json"),
            (b'{"index": "words", "queries": ["\xff\xfe"]}', 400, "not_json"),
            ('{"index": "words", "queries": ["keeper"]}'.encode("utf-16"), 400, "not_json"),
            (b'{"index": "words", "queries": ["\\ud800"]}', 400, "not_json"),
            (b"[" * 100_000, 400, "not_json"),
            (b"[]", 422, "invalid"),
            (b"null", 422, "invalid"),
            (b'{"index": "words", "queries": ["' + b"a" * (1 << 20) + b'"]}', 413, "too_large"),
        ],
    )
    def test_that_is_no_form_is_refused(self, client, content, status, code):
        answer = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
        error(answer, status, code)

    def test_of_a_body_without_end_is_read_no_further_than_its_limit(self, client):
        sent = []

        def endless():
            while len(sent) < 100:
                sent.append(1)
                yield b" " * (1 << 18)

        error(
            client.post("/v1/search", content=endless(), headers={"Content-Type": "application/json"}), 413, "too_large"
        )

    def test_that_names_one_memory_for_two_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="two memories are called 'sea'"):
            name_memories([str(tmp_path / "a" / "sea"), str(tmp_path / "b" / "sea")])

    def test_in_a_filter_reaches_no_file_and_changes_nothing(self, client):
        for statement in [statement for kind in ATTACKS.values() for statement in kind][::7]:
            for where in (statement, f"EXISTS ({statement})", f"1=1); {statement}; --"):
                answer = client.post("/v1/search", json=SEARCH | {"where": where})
                error(answer, 400, "bad_query")
