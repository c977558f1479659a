"""A server as users start it: new snapshots under load, killed replicas, damaged files; no answer is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from served import Clients, serving
from small_memory import INDEXES, build_inline, build_small, write_corpus

import mnemodex
from mnemodex.schemas.errors import MnemodexError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
QUESTIONS = ("tides of the harbour", "a lighthouse and its keeper", "who repaired the bridge")
SERVED = {name: INDEXES[name] for name in ("flat", "words", "ngrams")}


@pytest.fixture
def memory(tmp_path):
    """A memory of some indexes, and the folder of its source."""
    source, folder = tmp_path / "source", tmp_path / "memory"
    write_corpus(source, "a.jsonl", range(40))
    build_inline(source, folder, SERVED)
    return folder


def expected(folder, bodies):
    """The library's answers to bodies, as the server gives them: ids and scores."""
    opened = mnemodex.open(folder)
    return {
        json.dumps(body): [
            (str(chunk.chunk_id), round(chunk.score, 3))
            for chunk in opened.retriever(body["index"]).search(body["queries"], body["k"]).chunks()[0]
        ]
        for body in bodies
    }


def given(answer):
    return [(hit["chunk_id"], round(hit["score"], 3)) for hit in answer["hits"][0]]


def bodies(copies=1):
    return [
        {"index": index, "queries": [question], "k": 5}
        for index in SERVED
        for question in QUESTIONS
        for _ in range(copies)
    ]


def test_new_snapshots_are_served_without_a_failed_request(memory, tmp_path):
    asked = bodies()
    answers = {mnemodex.open(memory).snapshot.manifest.name: expected(memory, asked)}
    with serving(memory, "--follow", log=tmp_path / "log") as served, Clients(served, asked) as clients:
        for number in range(10):
            write_corpus(tmp_path / "source", f"b{number}.jsonl", range(100 + number * 5, 105 + number * 5))
            build_inline(tmp_path / "source", memory, SERVED)
            name = mnemodex.open(memory).snapshot.manifest.name
            answers[name] = expected(memory, asked)
            wait_for(lambda name=name: served.search("words", "tides").json()["snapshot"] == name)
    assert {status for _, status, _ in clients.answers} == {200}
    assert {answer["snapshot"] for _, _, answer in clients.answers} >= set(list(answers)[1:])
    for _, _, answer in clients.answers:
        assert given(answer) in answers[answer["snapshot"]].values()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_killed_replica_is_replaced_and_no_client_notices(memory, tmp_path, replicas):
    asked = bodies()
    right = expected(memory, asked)
    with (
        serving(memory, "--replicas", str(replicas), log=tmp_path / "log") as served,
        Clients(served, asked) as clients,
        Connected(served, asked) as connected,
    ):
        time.sleep(5)
        served.replicas()[0].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: len(served.replicas()) == replicas)
        time.sleep(10)
    assert {status for _, status, _ in clients.answers} <= {200, 503}
    for moment, status, answer in clients.answers:
        assert status == 200 or killed < moment < killed + 30
        if status == 503:
            # Whoever asks without the client may do so again.
            assert json.loads(answer)["error"]["code"] in {"replica_lost", "unavailable"}
        else:
            assert given(answer) in right.values()
    if replicas > 1:
        assert any(status == 200 for moment, status, _ in clients.answers if killed < moment < killed + 10)
    assert not connected.errors
    assert max(connected.moments) > killed + 10
    assert all(answer == right[body] for body, answer in connected.answers)


class Connected:
    """Threads that ask by the client, each one question after the other; what they were given, and what failed."""

    def __init__(self, served, bodies):
        self.answers, self.errors, self.moments = [], [], []
        self._memory = mnemodex.connect(served.url)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(body,)) for body in bodies]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._memory.close()

    def _ask(self, body):
        retriever = self._memory.retriever(body["index"])
        while not self._stop.is_set():
            try:
                (chunks,) = retriever.search(body["queries"], body["k"]).chunks()
            except MnemodexError as error:
                self.errors.append(error)
                return
            found = [(str(chunk.chunk_id), round(chunk.score, 3)) for chunk in chunks]
            self.answers.append((json.dumps(body), found))
            self.moments.append(time.monotonic())


def test_a_damaged_snapshot_is_refused_and_the_former_goes_on(memory, tmp_path):
    with serving(memory, "--follow", log=tmp_path / "log") as served:
        former = served.search("words", "tides").json()
        write_corpus(tmp_path / "source", "b.jsonl", range(100, 140))
        other = shutil.copytree(memory, tmp_path / "other")
        build_inline(tmp_path / "source", other, SERVED)
        damaged = mnemodex.open(other).snapshot
        known = set(memory.rglob("*"))
        for shard in damaged.index("words").shards:
            for path in (other / shard.folder).rglob("*.npy"):
                if memory / path.relative_to(other) not in known:
                    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        for part in ("tables", "indexes", "snapshots"):
            shutil.copytree(other / part, memory / part, dirs_exist_ok=True)
        shutil.copy(other / "CURRENT", memory / "CURRENT")
        time.sleep(10)
        now = served.search("words", "tides").json()
        assert (now["snapshot"], now["hits"]) == (former["snapshot"], former["hits"])
        assert damaged.manifest.name in served.log.read_text()


def test_an_index_with_a_damaged_shard_refuses_and_the_others_answer(tmp_path):
    memory = build_small(tmp_path)
    (shard,) = mnemodex.open(memory).snapshot.index("flat").shards[:1]
    (file,) = (memory / shard.folder).rglob("index.faiss")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with serving(memory, log=tmp_path / "log") as served:
        refused = served.search("flat", "tides")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "corrupt")
        assert str(tmp_path) not in refused.text
        assert served.search("words", "tides").status_code == 200


def test_overload_is_refused_and_soon_over(memory, tmp_path):
    asked = bodies(copies=16)
    right = expected(memory, bodies())
    with serving(memory, "--queue", "4", log=tmp_path / "log") as served:
        with Clients(served, asked) as clients:
            time.sleep(10)
        ended = time.monotonic()
        wait_for(lambda: served.search("words", "tides").status_code == 200, seconds=5)
        recovered = time.monotonic() - ended
    statuses = {status for _, status, _ in clients.answers}
    assert statuses == {200, 429} and recovered < 5
    for _, status, answer in clients.answers:
        if status == 200:
            assert given(answer) in right.values()
        else:
            assert json.loads(answer)["error"]["code"] == "busy"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_for_the_log_fails_no_request(memory):
    with serving(memory, log=Path("/dev/full")) as served:
        assert {served.search("words", f"tides {number}").status_code for number in range(300)} == {200}
        assert served.search("none", "tides").status_code == 404


def wait_for(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.2)
