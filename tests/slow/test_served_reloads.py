"""`mnemodex serve` with several replicas: they take new snapshots over together, and speak HTTPS."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest
from serving import served
from small_memory import build_inline, write_corpus

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]
INDEXES = {"flat": {"type": "dense", "factory": "Flat"}, "words": {"type": "bm25"}}


@pytest.fixture
def towns(tmp_path):
    return grow(tmp_path, range(8), "a")


def grow(folder, documents, name):
    write_corpus(folder / "source", f"{name}.jsonl", documents)
    build_inline(folder / "source", folder / "towns", INDEXES)
    return folder / "towns"


class Clients:
    """Threads that ask without a pause; what they were answered."""

    def __init__(self, server, number=4):
        self.answers = []
        self._server = server
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def _ask(self):
        while not self._done.is_set():
            begun = time.monotonic()
            try:
                answer = self._server.search()
            except OSError as error:
                answer = 0, error
            self.answers.append((time.monotonic(), time.monotonic() - begun, *answer))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_new_snapshots_reach_all_replicas_and_no_request_fails(towns, tmp_path):
    with served(towns, "--replicas", 2) as server:
        with Clients(server) as clients:
            for number in range(3):
                grow(tmp_path, range(20 + number, 21 + number), f"more{number}")
                status, told = server.ask("/v1/reload", {}, timeout=120)
                assert status == 200
                (snapshots,) = ({told["snapshot"] for (told,) in told["replicas"].values()},)
                assert snapshots == {f"00000{number + 2}"} and len(told["replicas"]) == 2
        assert {status for _, _, status, _ in clients.answers} == {200}
        assert {body["snapshot"] for *_, body in clients.answers} == {f"00000{n}" for n in range(1, 5)}
        assert sum("is released" in line for line in server.lines) >= 4


def test_certificates_make_it_https(towns, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1", "-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    with served(towns, "--tls-cert", cert, "--tls-key", key, cafile=cert) as server:
        assert server.search()[0] == 200
