"""Measure the server: questions a second and latency by clients and index, and those of a plain FastAPI server.

    python benchmarks/serving.py --memory MEMORY [--queries FILE] [--indexes NAME...] [--clients N...] [--seconds S]
        [--questions N] [--no-plain] [--haproxy] [--replicas N...] [--json FILE]

Each answer is compared with the library's. Rows: `library` asks one question after the other in one process, and all in
batches of 64; `plain` is `serving_plain.py`; `serve` is `mnemodex serve`, with `--haproxy` behind Ray's HAProxy too.
Rates are of questions; CPU is that of all processes of a server (proxy, replicas and Ray's own), without the clients'.
The parts of one client's request to `serve` are /healthz (proxy, HTTP), and the search and its JSON in the library.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import publish
from serving_load import Server, identity, running

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.retrievers.memory import Memory

K = 10
BATCH = 64


def questions_of(queries: Path | None, memory: Memory, most: int) -> list[str]:
    """The questions of a query file; without one, parts of sentences of the memory."""
    if queries is not None:
        return [json.loads(line)["question"] for line in queries.read_text().splitlines()][:most]
    texts = [text for (text,) in memory.sql("SELECT text FROM chunks ORDER BY chunk_id").fetchall()]
    parts = [" ".join(sentence.split()[:10]) for text in texts for sentence in text.split(". ")[:1]]
    return [part for part in dict.fromkeys(parts) if len(part) > 20 and part.isascii()][:most]


def phrased(memory: Memory, index: str, questions: Sequence[str]) -> list[str]:
    """The questions as an index is asked: of n-grams, their first two words."""
    if memory.snapshot.index(index).type != "ngram":
        return list(questions)
    return list(dict.fromkeys(" ".join(question.split()[:2]) for question in questions))


def of_library(memory: Memory, index: str, questions: Sequence[str]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows of the library itself, and its answers."""
    from mnemodex.pipelines.commands.rendering import SearchRequest
    from mnemodex.schemas.kinds import load

    renderer = load(memory.kind(index).renderer)

    def answers(batch: Sequence[str]) -> list[Any]:
        return renderer(SearchRequest(memory, index, batch, K)).to_json()["hits"]

    answers(questions[:BATCH])
    rows, given = [], []
    for name, size, asked in (("one at a time", 1, questions[:100]), (f"batches of {BATCH}", BATCH, questions)):
        begun, cpu = time.perf_counter(), time.process_time()
        given = [hits for place in range(0, len(asked), size) for hits in answers(asked[place : place + size])]
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        row = {"server": "library", "index": index, "clients": name, "questions_s": len(asked) / seconds}
        rows.append({**row, "per_cpu_s": len(asked) / cpu, "p50_ms": seconds / len(asked) * size * 1000})
    return rows, [[[(identity(hit), hit["score"]) for hit in hits]] for hits in given]


def of_server(
    name: str, server: Server, index: str, asked: Sequence[str], expected: Any, args: Any
) -> Iterator[dict[str, Any]]:
    """Rows of a server, a level of clients each."""
    bodies = [{"index": index, "queries": [question], "k": K} for question in asked]
    server.load("/v1/search", bodies, clients=8, seconds=2, expected=None)
    for clients in args.clients:
        got = server.load("/v1/search", bodies, clients=clients, seconds=args.seconds, expected=expected)
        yield row_of(name, index, clients, got)


def row_of(name: str, index: str, clients: Any, got: dict[str, Any], each: int = 1) -> dict[str, Any]:
    other = {status: count for status, count in got["statuses"].items() if status != "200"}
    return {
        "server": name,
        "index": index,
        "clients": clients,
        "questions_s": got["good"] * each / got["seconds"],
        "per_cpu_s": got["good"] * each / max(got["server_cpu_s"], 1e-9),
        "p50_ms": got["p50_ms"],
        "p95_ms": got["p95_ms"],
        "p99_ms": got["p99_ms"],
        "wrong": got["wrong"],
        "other": json.dumps(other) if other else "",
    }


def batched(name: str, server: Server, index: str, asked: Sequence[str], expected: Any, args: Any) -> dict[str, Any]:
    """A row of requests with many questions each."""
    places = range(0, len(asked) - BATCH + 1, BATCH)
    bodies = [{"index": index, "queries": asked[at : at + BATCH], "k": K} for at in places]
    wanted = [[hits for (hits,) in expected[at : at + BATCH]] for at in places]
    got = server.load("/v1/search", bodies, clients=4, seconds=args.seconds, expected=wanted)
    return row_of(name, index, f"4, {BATCH} questions each", got, BATCH)


def parts(server: Server, index: str, asked: Sequence[str], memory: Memory, args: Any) -> dict[str, Any]:
    """Where the time of one client's request goes, in ms."""
    import urllib.request

    def median(call: Any) -> float:
        times = []
        for number in range(60):
            begun = time.perf_counter()
            call(number)
            times.append(time.perf_counter() - begun)
        return sorted(times)[30] * 1000

    retriever = memory.retriever(index)
    whole = server.load(
        "/v1/search", [{"index": index, "queries": [one], "k": K} for one in asked], clients=1, seconds=args.seconds
    )
    health = median(
        lambda _: urllib.request.urlopen(  # noqa: S310 - it is our own address
            f"{server.url}/healthz"
        ).read()
    )
    search = median(lambda number: retriever.search([asked[number]], K))
    hits = [retriever.search([one], K) for one in asked[:60]]
    written = median(lambda number: json.dumps([chunk.to_json() for chunk in hits[number].chunks()[0]]))
    row = {"index": index, "request": whole["p50_ms"], "/healthz": health, "search": search, "hits as JSON": written}
    return {**row, "rest": whole["p50_ms"] - health - search - written}


def commands(args: Any, folder: Path) -> Iterator[tuple[str, list[str], dict[str, str], str | None]]:
    """The servers that are measured: name, command, environment and key."""
    program = [sys.executable, "-m", "mnemodex"]
    if args.plain:
        yield "plain", [sys.executable, str(Path(__file__).with_name("serving_plain.py")), str(args.memory)], {}, None
    for replicas in args.replicas:
        yield f"serve, {replicas}", [*program, "serve", str(args.memory), "--replicas", str(replicas)], {}, None
    if args.haproxy:
        keys = folder / "keys.json"
        made = subprocess.run(
            [*program, "keys", "add", str(keys), "--name", "load", "--scope", "search", "--scope", "admin"],
            capture_output=True,
            text=True,
            check=True,
        )
        key = next(word for word in made.stdout.split() if len(word) > 30)
        env = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
        yield "serve, HAProxy", [*program, "serve", str(args.memory), "--keys", str(keys)], env, key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--memory", type=Path, required=True)
    parser.add_argument("--queries", type=Path, help="a query file")
    parser.add_argument("--indexes", nargs="+", default=["dense", "words", "both"])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 16, 64, 256])
    parser.add_argument("--replicas", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--questions", type=int, default=640)
    parser.add_argument("--plain", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--haproxy", action="store_true")
    parser.add_argument("--port", type=int, default=8730)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.memory = args.memory.absolute()
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows, where, started = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        memory = mnemodex.open(args.memory)
        questions = questions_of(args.queries, memory, args.questions)
        asked = {index: phrased(memory, index, questions) for index in args.indexes}
        expected = {}
        for index in args.indexes:
            own, expected[index] = of_library(memory, index, asked[index])
            rows += own
        for number, (name, command, env, key) in enumerate(commands(args, Path(folder))):
            port = args.port + number
            full = [*command, str(port)] if name == "plain" else [*command, "--port", str(port)]
            with running(full, port, env=env, key=key) as server:
                started.append({"server": name, "ready_after_s": server.start_seconds})
                for index in args.indexes:
                    rows += of_server(name, server, index, asked[index], expected[index], args)
                    rows.append(batched(name, server, index, asked[index], expected[index], args))
                if name == "serve, 1":
                    where = [parts(server, index, asked[index], memory, args) for index in args.indexes]
    publish("Start", started, json_path=args.json and args.json.with_suffix(".start.json"))
    publish(
        "One request's parts, ms, at one client", where, json_path=args.json and args.json.with_suffix(".parts.json")
    )
    publish(f"Serving {args.memory.name}", rows, json_path=args.json)


if __name__ == "__main__":
    main()
