"""Measure a server while its memory changes, and over many requests.

    python benchmarks/serving_swaps.py [--swaps N] [--requests N] [--json FILE]

A memory of the demo's corpus (dense and BM25) gets a further document in each of N snapshots, which are built before
the clock starts and put into the served folder one by one, three seconds apart, while 8 clients ask; `--follow` finds
them. An answer is failed unless it is 200. Requests of a swap are those that were asked from the moment that the
snapshot was put there until two seconds later; others are quiet. Then clients ask until so many requests are answered;
the memory of the replica is looked at after each tenth of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import publish
from serving import questions_of
from serving_load import Server, percentiles, running

import mnemodex
from mnemodex.demo.corpus import write_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CLIENTS = 8
APART, LASTS = 3.0, 2.0
"""Seconds between two snapshots, and those that are counted as a swap's."""
INDEXES = {"dense": {"type": "dense"}, "words": {"type": "bm25"}}


def build(folder: Path, swaps: int) -> tuple[Path, list[str]]:
    """Build a memory of many snapshots; return its folder, and what `CURRENT` said after each."""
    source = write_corpus(folder / "source", full=False)
    recipe = {"source": {"path": str(source)}, "indexes": INDEXES, "chunks": {"by": "tokens", "size": 128}}
    built, current = folder / "built", []
    for number in range(swaps + 1):
        mnemodex.build(recipe, memory=built)
        current.append((built / "CURRENT").read_text())
        row = {"id": f"added {number}", "title": "Added", "text": f"Document {number} is about swaps."}
        (source / f"added{number}.jsonl").write_text(json.dumps(row) + "\n")
    return built, current


def commit(built: Path, served: Path, current: str) -> None:
    """Put a snapshot into the served folder, where its files are."""
    name = f"{current.split(maxsplit=1)[0]}.json"
    shutil.copy(built / "snapshots" / name, served / "snapshots" / f"{name}.part")
    (served / "snapshots" / f"{name}.part").rename(served / "snapshots" / name)
    (served / "CURRENT.part").write_text(current)
    (served / "CURRENT.part").rename(served / "CURRENT")


def swapped(server: Server, bodies: list[dict[str, Any]], swaps: Sequence[Callable[[], None]]) -> dict[str, Any]:
    """Ask while snapshots appear."""
    moments: list[float] = []

    def swap() -> None:
        time.sleep(APART)
        for commit_one in swaps:
            moments.append(time.time())
            commit_one()
            time.sleep(APART)

    thread = threading.Thread(target=swap)
    thread.start()
    seconds = APART * (len(swaps) + 2)
    got = server.load("/v1/search", bodies, clients=CLIENTS, seconds=seconds, expected=None, rows=True)
    thread.join()
    within = [took for begun, took, _ in got["rows"] if any(at <= begun <= at + LASTS for at in moments)]
    quiet = [took for begun, took, _ in got["rows"] if not any(at <= begun <= at + LASTS for at in moments)]
    return {
        "swaps": len(swaps),
        "snapshots answered from": len(got["snapshots"]),
        "requests": got["requests"],
        "failed": got["requests"] - got["good"],
        "quiet p50_ms": percentiles(quiet)[0],
        "quiet p99_ms": percentiles(quiet)[2],
        "swap p50_ms": percentiles(within)[0],
        "swap p99_ms": percentiles(within)[2],
    }


def many(server: Server, bodies: list[dict[str, Any]], requests: int) -> Iterator[dict[str, Any]]:
    """Ask so often, and look at the replica's memory."""
    done = 0
    while done < requests:
        got = server.load("/v1/search", bodies, clients=CLIENTS, seconds=1e9, most=requests // 10, expected=None)
        done += got["good"]
        (replica,) = server.replicas()
        memory = replica.memory_full_info()
        yield {
            "requests": done,
            "failed": got["requests"] - got["good"],
            "unique_MiB": memory.uss / 2**20,
            "open files": len(replica.open_files()),
            "threads": replica.num_threads(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--port", type=int, default=8750)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        built, current = build(folder, args.swaps)
        served = Path(shutil.copytree(built, folder / "served"))
        for path in (served / "snapshots").glob("*.json"):
            path.unlink()
        commit(built, served, current[0])
        swaps = [partial(commit, built, served, line) for line in current[1:]]
        asked = questions_of(None, mnemodex.open(served), 256)
        command = [sys.executable, "-m", "mnemodex", "serve", str(served), "--follow", "--port", str(args.port)]
        with running(command, args.port) as server:
            rows = []
            for index, part in zip(INDEXES, (swaps[: len(swaps) // 2], swaps[len(swaps) // 2 :]), strict=True):
                bodies = [{"index": index, "queries": [question], "k": 10} for question in asked]
                server.load("/v1/search", bodies, clients=4, seconds=3, expected=None)
                rows.append({"index": index, **swapped(server, bodies, part)})
            publish("Snapshots under load", rows, json_path=args.json)
            memory = list(many(server, bodies, args.requests)) if args.requests else []
            publish("Memory of a replica, BM25", memory, json_path=args.json and args.json.with_suffix(".memory.json"))


if __name__ == "__main__":
    main()
