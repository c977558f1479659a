"""A server under load: clients that ask one question after the other, and what the server's processes used meanwhile.

    python benchmarks/serving_load.py URL < JOB.json

The job says the bodies, the answers that they must have, the number of clients, and the seconds. The clients are one
process of their own; it prints one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import numpy as np
import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CLOSE = 1e-3
"""Between the score of an answer and the library's: batches of other sizes round otherwise."""
_OPEN_SECONDS = 300
_PAUSE_SECONDS = 0.05
"""Before a client that was refused asks again."""


class Asked(NamedTuple):
    """One request: which, when, how long, and its answer."""

    place: int
    moment: float
    seconds: float
    status: int
    reply: bytes


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: its address.
        process: that was started; all that belongs to it is below.
        start_seconds: until it was ready.
        key: that it asks for.
    """

    url: str
    process: psutil.Process
    start_seconds: float
    key: str | None = None

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """What all of its processes have used."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def replicas(self) -> list[psutil.Process]:
        """The processes that answer."""
        return [one for one in self.processes() if "ServeReplica" in " ".join(_line(one))]

    def load(self, path: str, bodies: Sequence[dict[str, Any]], **job: Any) -> dict[str, Any]:
        """Ask in a process of its own; return what came of it, with the server's CPU time."""
        before = self.cpu_seconds()
        command = [sys.executable, __file__, self.url + path]
        given = json.dumps({"bodies": list(bodies), "key": self.key, **job})
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        return {**json.loads(done.stdout), "server_cpu_s": self.cpu_seconds() - before}


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextlib.contextmanager
def running(
    command: Sequence[str], port: int, *, env: Mapping[str, str] | None = None, key: str | None = None
) -> Iterator[Server]:
    """Start a server, and end it with the context."""
    begun = time.monotonic()
    with Path(f"serving-{port}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    url = f"http://127.0.0.1:{port}"
    try:
        asyncio.run(_ready(url, process))
        yield Server(url, psutil.Process(process.pid), time.monotonic() - begun, key)
    finally:
        process.terminate()
        process.wait(60)


async def _ready(url: str, process: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(_OPEN_SECONDS * 10):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            if process.poll() is not None:
                raise SystemExit(f"the server ended with {process.returncode}: see {Path.cwd()}/serving-*.log")
            await asyncio.sleep(0.1)
    raise SystemExit(f"{url} is not ready after {_OPEN_SECONDS} s")


def identity(hit: Mapping[str, Any]) -> str:
    """The id of a hit: a question's, or a chunk's."""
    return str(hit.get("question_id") or hit["chunk_id"])


def agrees(answer: Mapping[str, Any], expected: Sequence[Sequence[tuple[str, float]]]) -> bool:
    """Whether hits are the library's: the same ids, or in the place of one another's, equal scores."""
    if len(answer["hits"]) != len(expected):
        return False
    for hits, wanted in zip(answer["hits"], expected, strict=True):
        scores = [
            abs(hit["score"] - score) <= CLOSE * max(1, abs(score))
            for hit, (_, score) in zip(hits, wanted, strict=False)
        ]
        last = wanted[-1][1] if wanted else 0.0
        known = {identity for identity, score in wanted if score > last + CLOSE * max(1, abs(last))}
        if len(hits) != len(wanted) or not all(scores) or not known <= {identity(hit) for hit in hits}:
            return False
    return True


async def ask(url: str, job: dict[str, Any]) -> dict[str, Any]:
    """Ask as a job says; return what came of it."""
    bodies = [json.dumps(body).encode() for body in job["bodies"]]
    headers = {"content-type": "application/json"}
    if job.get("key"):
        headers["authorization"] = f"Bearer {job['key']}"
    asked: list[Asked] = []
    end, most = time.perf_counter() + job["seconds"], job.get("most", sys.maxsize)

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        place = number * 7 % len(bodies)
        while time.perf_counter() < end and len(asked) < most:
            begun, moment = time.perf_counter(), time.time()
            try:
                async with session.post(url, data=bodies[place], headers=headers) as response:
                    reply, status = await response.read(), response.status
            except (aiohttp.ClientError, TimeoutError):
                reply, status = b"", 0
            asked.append(Asked(place, moment, time.perf_counter() - begun, status, reply))
            place = (place + 1) % len(bodies)
            if status in (0, 429, 503):
                await asyncio.sleep(_PAUSE_SECONDS)

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        begun = time.perf_counter()
        await asyncio.gather(*(client(session, number) for number in range(job["clients"])))
        seconds = time.perf_counter() - begun
    # After the clock: reading answers costs as much as giving them.
    return {"seconds": seconds, **summary(asked, job.get("expected")), "rows": rows(asked) if job.get("rows") else []}


def summary(asked: Sequence[Asked], expected: Any) -> dict[str, Any]:
    """Counts and times; wrong are answers that are not the library's."""
    good = [one for one in asked if one.status == 200]
    answers = [json.loads(one.reply) for one in good]
    wrong = 0
    if expected is not None:
        wrong = sum(not agrees(answer, expected[one.place]) for one, answer in zip(good, answers, strict=True))
    p50, p95, p99 = percentiles([one.seconds for one in good])
    return {
        "requests": len(asked),
        "good": len(good),
        "wrong": wrong,
        "statuses": dict(Counter(str(one.status) for one in asked)),
        "snapshots": dict(Counter(answer.get("snapshot", "") for answer in answers)),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
    }


def percentiles(seconds: Sequence[float]) -> list[float | None]:
    """p50, p95 and p99, in ms."""
    return [float(value) * 1000 for value in np.percentile(seconds, [50, 95, 99])] if seconds else [None] * 3


def rows(asked: Sequence[Asked]) -> list[tuple[float, float, int]]:
    """When each was asked, how long it took, and its status."""
    return [(one.moment, one.seconds, one.status) for one in asked]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], json.load(sys.stdin)))))
