"""What a memory in an object store costs: requests, and bytes that are read, of whole programs.

    python benchmarks/object_store.py [--documents N] [--json FILE]

A server of S3 (moto's) runs in this process and counts. Each program is a process of its own: builds, changes and
searches; a first search finds the node's cache empty, a second one finds what the first has read.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.server import ThreadedMotoServer
from report import publish

from mnemodex.demo.corpus import write_corpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUESTION = "How do I run code when an exception was not raised?"
INDEXES: dict[str, dict[str, Any]] = {
    "words": {"type": "bm25"},
    "dense": {"type": "dense"},
    "ngrams": {"type": "ngram"},
}
_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*([A-Z]+) (\S+)')


class Requests(logging.Handler):
    """Requests since it was asked last, as the server logs them."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        match = _REQUEST.search(record.getMessage())
        if match is not None:
            self._seen.append((match[1], match[2]))

    def taken(self) -> list[tuple[str, str]]:
        """Return the requests, and forget them."""
        seen, self._seen = self._seen, []
        return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    requests, log = Requests(), logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.addHandler(requests)
    log.propagate = False
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    place = "{}:{}".format(*server.get_host_and_port())
    connection = http.client.HTTPConnection(place)
    connection.request("PUT", "/bucket")
    connection.getresponse().read()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {
            "AWS_ENDPOINT_URL": f"http://{place}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "us-east-1",
            "MNEMODEX_CACHE": str(folder / "cache"),
        }
        rows = [
            row(label, ran(command, environment, requests), folder / "cache")
            for label, command in programs(folder, options.documents)
        ]
    server.stop()
    publish("Object store", rows, json_path=options.json)


def programs(folder: Path, documents: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what is measured, and the command's arguments."""
    files = sorted(write_corpus(folder / "whole", full=False).glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()][:documents]
    corpus = folder / "corpus.jsonl"
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = {"source": {"path": str(corpus)}, "memory": "s3://bucket/memory", "indexes": INDEXES}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    more = folder / "more.jsonl"
    more.write_text(json.dumps(json.loads(lines[0]) | {"id": "another", "text": "Another text."}) + "\n")
    build = ["build", str(folder / "recipe.yaml"), "--local"]
    yield "build", build
    yield "build with nothing to do", build
    for index in INDEXES:
        shutil.rmtree(folder / "cache")
        search = ["search", "s3://bucket/memory", index, QUESTION]
        yield f"first search of `{index}`", search
        yield f"second search of `{index}`", search
    yield "verify", ["verify", "s3://bucket/memory"]
    yield "add a document", ["add", "s3://bucket/memory", str(more), "--local"]
    yield "delete it", ["delete", "s3://bucket/memory", "another", "--local"]
    yield "gc", ["gc", "s3://bucket/memory", "--older-than", "0s"]


def ran(command: Sequence[str], environment: dict[str, str], requests: Requests) -> list[tuple[str, str]]:
    """Run a command, and return the requests that it made."""
    requests.taken()
    subprocess.run([sys.executable, "-m", "mnemodex", *command], env=environment, check=True, stdout=subprocess.DEVNULL)
    return requests.taken()


def row(label: str, seen: list[tuple[str, str]], cache: Path) -> dict[str, Any]:
    """Return a row of the table."""
    print(label, len(seen), file=sys.stderr)
    files = Counter(path.partition("?")[0] for method, path in seen if method == "GET" and "list-type" not in path)
    methods = Counter("LIST" if "list-type" in path else method for method, path in seen)
    return {
        "what": label,
        "requests": len(seen),
        **{method: methods[method] for method in ("GET", "HEAD", "LIST", "PUT", "POST")},
        "files read": len(files),
        "most of one file": max(files.values(), default=0),
        "MB in the cache": round(sum(path.stat().st_size for path in (cache / "sha256").iterdir()) / 1e6, 1),
    }


if __name__ == "__main__":
    main()
