"""What people think of hits: lines of a file that is a query file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from mnemodex.deploy.access import OPEN, Access
from mnemodex.deploy.app import http_app
from mnemodex.deploy.feedback import FeedbackFile
from mnemodex.deploy.memories import Served
from mnemodex.deploy.operations.feedback import FeedbackForm, feedback
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import Limits, ServerSettings
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import AccessError, FeedbackError, QueryError

GOOD = {"index": "words", "question": "Who winds the lamp?", "key": "lighthouse-1", "good": True}


@pytest.fixture
def served(memory):
    return Served("library", memory, Limits())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def judge(served, path):
    file = FeedbackFile(path)

    def add(access=OPEN, **changes):
        return feedback(served, FeedbackForm(**{**GOOD, **changes}), access, file=file)

    return add


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TestFile:
    def test_it_is_a_query_file(self, judge, path):
        judge()
        judge(good=False, key="mill-2")
        judge(index="asked", answers=["the keeper"], question="Qui garde la lumière ?\u2028 Он")
        kept, refused, answered = read_queries(path)
        assert (kept.question, kept.gold) == ("Who winds the lamp?", {"lighthouse-1": 1})
        assert refused.gold == {} and answered.answers == ("the keeper",)
        assert answered.question == "Qui garde la lumière ?\u2028 Он"

    def test_a_line_says_what_was_judged_where(self, judge, path):
        answer = judge(good=False, answers=["not this"])
        (line,) = lines(path)
        assert line.pop("time").startswith("20") and line.pop("id") == answer["id"]
        assert line == {
            "question": "Who winds the lamp?",
            "answers": [],
            "gold_ids": [],
            "bad_ids": ["lighthouse-1"],
            "memory": "library",
            "snapshot": "000001",
            "index": "words",
            "by": "open",
        }

    def test_only_its_owner_may_read_it(self, judge, path):
        judge()
        assert path.stat().st_mode & 0o777 == 0o600

    def test_lines_are_added_to_those_that_there_are(self, judge, path):
        path.write_text('{"id": "mine", "question": "a", "gold_ids": ["b"]}\n')
        judge()
        assert read_queries(path)[0].id == "mine"

    def test_half_a_line_spoils_no_other(self, judge, path):
        path.write_text('{"id": "cut sho')
        judge()
        first, second = path.read_text().splitlines()
        assert first == '{"id": "cut sho' and json.loads(second)["gold_ids"] == ["lighthouse-1"]


class TestReplicas:
    def test_lines_of_several_threads_stay_whole(self, path):
        files = [FeedbackFile(path) for _ in range(4)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda at: files[at % 4].add({"id": at, "question": "long " * 999}), range(80)))
        assert len({line["id"] for line in lines(path)}) == 80

    def test_lines_of_several_processes_stay_whole(self, path):
        code = (
            "import sys; from pathlib import Path; from mnemodex.deploy.feedback import FeedbackFile\n"
            "file = FeedbackFile(Path(sys.argv[1]))\n"
            "for number in range(30): file.add({'id': f'{sys.argv[2]}-{number}', 'question': 'q' * 5000})"
        )
        running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(at)]) for at in range(3)]
        assert [process.wait(120) for process in running] == [0, 0, 0]
        assert len({line["id"] for line in lines(path)}) == 90


class TestRefusals:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_a_full_disk_is_an_error_of_ours(self):
        with pytest.raises(FeedbackError, match=r"not kept \(No space left on device\); ask the server's owner"):
            FeedbackFile(Path("/dev/full")).add({})

    def test_what_a_full_disk_cut_off_is_taken_back(self, judge, path, monkeypatch):
        judge()
        before, write = path.read_bytes(), os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        with pytest.raises(FeedbackError, match="No space left"):
            judge()
        monkeypatch.undo()
        assert path.read_bytes() == before

    def test_a_file_that_cannot_be_made_is_refused_at_once(self, tmp_path):
        with pytest.raises(FeedbackError, match=r"feedback.jsonl: cannot be written \(No such file"):
            FeedbackFile(tmp_path / "none" / "feedback.jsonl")

    def test_an_access_for_another_index_is_refused(self, judge, path):
        other = Access(key_name="other", scopes=frozenset({"search"}), indexes=frozenset({"flat"}))
        with pytest.raises(AccessError):
            judge(other)
        with pytest.raises(QueryError, match="none"):
            judge(index="none")
        assert path.read_bytes() == b""

    @pytest.mark.parametrize(
        "changes", [{"question": ""}, {"key": "x" * 2001}, {"answers": ["a"] * 101}, {"good": None}, {"path": "/x"}]
    )
    def test_a_judgement_has_bounds(self, changes):
        with pytest.raises(ValidationError):
            FeedbackForm(**{**GOOD, **changes})


class TestServer:
    @pytest.fixture
    def asked(self, library):
        """Asks a server of the library that has some settings."""

        def ask(**settings):
            made = ServerSettings(memories={"library": library}, **settings)
            client = TestClient(http_app(made, Service(made)), base_url="http://127.0.0.1")
            return client.post("/v1/feedback", json=GOOD), client.get("/v1/indexes").json()["can"]

        return ask

    def test_a_judgement_is_kept(self, asked, path):
        answer, can = asked(feedback=path, sql=True)
        assert answer.status_code == 200 and lines(path)[0]["id"] == answer.json()["id"]
        assert can == ["admin", "answer", "search", "sql", "feedback"]

    def test_without_a_file_it_says_how_to_have_one(self, asked):
        answer, can = asked()
        assert answer.status_code == 403 and "--feedback FILE" in answer.text
        assert can == ["admin", "answer", "search"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
    def test_a_full_disk_has_a_status_of_its_own(self, asked):
        answer, _ = asked(feedback=Path("/dev/full"))
        assert answer.status_code == 507
        assert answer.json()["error"]["code"] == "storage" and "make room" in answer.json()["error"]["remedy"]
