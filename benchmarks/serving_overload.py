"""Measure what an overload does: clients that are refused, and how soon one that asks alone is answered as before.

    python benchmarks/serving_overload.py --memory MEMORY [--indexes NAME...] [--clients N] [--seconds S] [--json FILE]

Twice as many clients ask as the server takes, for so many seconds. Another one asks the same index all the time, one
question after the other: `recovered_s` is from the moment that the many have asked for the last time until this one's
first answer that took no longer than 1.5 times what half of them took before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from report import publish
from serving import K, questions_of
from serving_load import running

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_load import Server

AS_BEFORE = 1.5
PAUSE = 0.02
"""Seconds between two questions of the one client."""
AFTER = 10.0
"""Seconds that the one client asks after the overload."""


class OneClient:
    """Asks until it is stopped, and notes when each answer came, how long it took, and its status."""

    def __init__(self, server: Server, bodies: Sequence[bytes]) -> None:
        self._address = urlsplit(server.url).netloc
        self._bodies = bodies
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers: list[tuple[float, float, int]] = []

    def __enter__(self) -> OneClient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        while not self._stopped.wait(PAUSE):
            begun = time.time()
            body = self._bodies[len(self.answers) % len(self._bodies)]
            connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
            response = connection.getresponse()
            response.read()
            self.answers.append((time.time(), time.time() - begun, response.status))


def overloaded(server: Server, index: str, asked: Sequence[str], clients: int, seconds: float) -> dict[str, Any]:
    """A row of an index."""
    bodies = [{"index": index, "queries": [question], "k": K} for question in asked]
    server.load("/v1/search", bodies, clients=4, seconds=2, expected=None)
    with OneClient(server, [json.dumps(body).encode() for body in bodies]) as one:
        time.sleep(3)
        usual = float(np.median([took for _, took, _ in one.answers]))
        got = server.load("/v1/search", bodies, clients=clients, seconds=seconds, expected=None, rows=True)
        time.sleep(AFTER)
    end = max(moment for moment, _, _ in got["rows"])
    quick = (moment for moment, took, status in one.answers if status == 200 and took <= AS_BEFORE * usual)
    recovered = next((moment for moment in quick if moment > end), None)
    statuses = got["statuses"]
    return {
        "index": index,
        "clients": clients,
        "answered": got["good"],
        "429": statuses.get("429", 0),
        "other": json.dumps({name: count for name, count in statuses.items() if name not in ("200", "429")}),
        "answered p99_ms": got["p99_ms"],
        "one client before, ms": usual * 1000,
        "recovered_s": None if recovered is None else recovered - end,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--memory", type=Path, required=True)
    parser.add_argument("--indexes", nargs="+", default=["dense", "words"])
    parser.add_argument("--clients", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--port", type=int, default=8770)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    asked = questions_of(None, mnemodex.open(args.memory), 256)
    command = [sys.executable, "-m", "mnemodex", "serve", str(args.memory.absolute()), "--port", str(args.port)]
    with running(command, args.port) as server:
        rows = [overloaded(server, index, asked, args.clients, args.seconds) for index in args.indexes]
    publish("Overload", rows, json_path=args.json)


if __name__ == "__main__":
    main()
