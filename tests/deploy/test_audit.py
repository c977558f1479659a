import errno
import json
import logging
import multiprocessing
import os
import stat

import pytest

from mnemodex.deploy.audit import Audit, Entry
from mnemodex.schemas.errors import UserError


def entry(request="r1"):
    return Entry(
        request=request, key="k", operation="search", memory="m", index="words", questions=2, status=200, ms=1.5
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_many(path, name):
    audit = Audit(path)
    for _ in range(200):
        audit.write(entry(name))


class TestAnAuditLog:
    def test_has_a_line_a_request_and_is_for_its_owner_alone(self, tmp_path):
        path = tmp_path / "audit.jsonl"
        audit = Audit(path)
        audit.write(entry())
        audit.write(entry("r2"))
        first, second = lines(path)
        assert second["request"] == "r2"
        assert {**first, "time": None} == {
            "time": None,
            "request": "r1",
            "key": "k",
            "operation": "search",
            "memory": "m",
            "index": "words",
            "questions": 2,
            "status": 200,
            "ms": 1.5,
        }
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_goes_on_after_what_was_there(self, tmp_path):
        path = tmp_path / "audit.jsonl"
        Audit(path).write(entry("r1"))
        Audit(path).write(entry("r2"))
        assert [line["request"] for line in lines(path)] == ["r1", "r2"]

    def test_is_one_line_whatever_a_name_is(self, tmp_path):
        path = tmp_path / "audit.jsonl"
        Audit(path).write(entry("a\nb\u2028\ud800\x00"))
        assert path.read_bytes().count(b"\n") == 1 and path.read_bytes().isascii()

    def test_of_several_processes_has_whole_lines(self, tmp_path):
        path = tmp_path / "audit.jsonl"
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=write_many, args=(path, f"p{number}")) for number in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert len(lines(path)) == 800

    def test_is_followed_where_it_is_rotated(self, tmp_path):
        path = tmp_path / "audit.jsonl"
        audit = Audit(path)
        audit.write(entry("r1"))
        path.rename(tmp_path / "audit.1")
        audit.write(entry("r2"))
        assert [line["request"] for line in lines(path)] == ["r2"]

    def test_that_cannot_be_written_fails_no_request(self, tmp_path, monkeypatch, caplog):
        path = tmp_path / "audit.jsonl"
        audit = Audit(path)
        system_write = os.write

        def half(descriptor, data):
            return system_write(descriptor, data[: len(data) // 2])

        def full(descriptor, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with caplog.at_level(logging.ERROR, "mnemodex.server"):
            monkeypatch.setattr("os.write", half)
            audit.write(entry("torn"))
            monkeypatch.setattr("os.write", full)
            audit.write(entry("lost"))
        assert audit.lost == 2
        assert [record.getMessage() for record in caplog.records] == [
            "the audit log is not written: No space left on device"
        ]
        monkeypatch.setattr("os.write", system_write)
        audit.write(entry("next"))
        assert json.loads(path.read_text().splitlines()[-1])["request"] == "next"

    def test_that_cannot_be_opened_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="the audit log cannot be opened"):
            Audit(tmp_path / "nowhere" / "audit.jsonl")
