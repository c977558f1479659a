"""What a large graph costs: its steps, their growth, ten documents more, and a question; and how many facts are missed.

python benchmarks/graph_scale.py [--entities N N] [--documents N] [--folder FOLDER] [--json FILE]

Names are some pseudo-random ones in fifty spellings each, and facts are made of these: three for each entity, thirty in
a passage. An encoder that hashes trigrams makes spellings near, as MiniLM would in hours. Each size is built in a
process of its own, without Ray: units one after the other, so that a unit's memory is what the process takes beyond
what it had. The exponent is of the last step in size: 1 is linear. A question's CPU time is without its encoding. Then
a memory of one-line documents with six triples each is built, and built again with ten more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import publish
from scale import Meter, growth_rows

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_DIMENSION = 384
_SPELLINGS = 50
_QUESTIONS = 100
_PREDICATES = ("was built by", "lies in", "met", "keeps", "was born in", "is the harbour of", "wrote about", "rules")


class TrigramEncoder:
    """The sum of a pseudo-random vector for each three bytes: near for texts that share most of them."""

    dimension = _DIMENSION
    identity = "trigrams"

    def __init__(self) -> None:
        self._table = np.random.default_rng(0).standard_normal((4096, _DIMENSION)).astype(np.float32)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        data = [f"  {text.lower()}".encode() for text in texts]
        letters = np.frombuffer(b"".join(data) + b"  ", np.uint8).astype(np.uint32)
        hashes = ((letters[:-2] << 16 | letters[1:-1] << 8 | letters[2:]) * np.uint32(2654435761)) >> np.uint32(20)
        starts = np.cumsum([0, *map(len, data)])[:-1]
        vectors: NDArray[np.float32] = np.add.reduceat(self._table[hashes], starts)
        return vectors


class Names:
    """Names by number, in spellings that differ in a letter."""

    def __init__(self, entities: int) -> None:
        self._random = np.random.default_rng(3)
        count = max(entities // _SPELLINGS, 8)
        self._names = self._random.integers(97, 123, (count, 20), dtype=np.uint8)
        self._lengths = self._random.integers(16, 21, count)
        self._names[:, 8] = 32
        self.count = count

    def spelling(self, name: int, number: int) -> str:
        """One of the spellings of a name."""
        letters = self._names[name, : self._lengths[name]].copy()
        if number:
            letters[number % len(letters)] = 97 + number % 26
        return letters.tobytes().decode()


def documents(passages: int, facts: int, entities: int) -> Iterator[tuple[str, list[list[str]]]]:
    """Keys of passages, and the facts of each: those of some names, in all spellings."""
    names = Names(entities)
    random = np.random.default_rng(5)
    count = max(passages * facts // _SPELLINGS, 1)
    ends = (names.count * random.random((count, 2)) ** 1.5).astype(int)
    ends[:, 1] = np.where(ends[:, 0] == ends[:, 1], (ends[:, 1] + 1) % names.count, ends[:, 1])
    kinds = random.integers(0, len(_PREDICATES), count)
    drawn = random.integers(0, count, (passages, facts))
    for passage in range(passages):
        triples = []
        for number, base in enumerate(drawn[passage].tolist()):
            spellings = random.integers(0, _SPELLINGS, 2).tolist()
            subject, object_ = (names.spelling(*pair) for pair in zip(ends[base].tolist(), spellings, strict=True))
            triples.append([subject, _PREDICATES[(kinds[base] + number % 2) % len(_PREDICATES)], object_])
        yield f"p{passage}", triples


def write(folder: Path, passages: int, facts: int, entities: int, *, more: int = 0) -> None:
    """Write passages, at most ten more in a file of their own, and the triples of all."""
    sources = folder / "source"
    sources.mkdir(exist_ok=True)
    stated = itertools.islice(documents(passages + 10, facts, entities), passages + more)
    with (folder / "triples.jsonl").open("w") as lines:
        for file, count in (("first", passages), ("more", more)):
            with (sources / f"{file}.jsonl").open("w") as source:
                for key, triples in itertools.islice(stated, count):
                    text = ". ".join(" ".join(triple) for triple in triples[:6])
                    source.write(json.dumps({"id": key, "title": triples[0][0], "text": text}) + "\n")
                    lines.write(json.dumps({"id": key, "triples": triples}) + "\n")
    if not more:
        (sources / "more.jsonl").unlink()


def recipe(folder: Path) -> dict[str, Any]:
    """A memory with two graph indexes, which share their files."""
    index = {"type": "graph", "embed": "trigrams"}
    return {
        "memory": str(folder / "memory"),
        "source": str(folder / "source"),
        "triples": {"from": str(folder / "triples.jsonl")},
        "embed": {"trigrams": {}},
        "indexes": {"bridge": index, "hipporag2": {**index, "method": "hipporag2"}},
    }


def build(folder: Path) -> dict[str, Any]:
    """Build a memory, in a process of its own; what each step took."""
    meter = Meter()
    meter.install()
    spent = time.process_time()
    mnemodex.build(recipe(folder), encoders={"trigrams": TrigramEncoder()}, local=True)
    spent = time.process_time() - spent
    manifest = mnemodex.open(folder / "memory").snapshot.manifest
    kept = {**manifest.tables, **manifest.caches, **manifest.indexes}
    return {
        "cpu_seconds": spent,
        "rows": {name: manifest.tables[name].rows for name in ("chunks", "triples", "entities", "facts", "edges")},
        "steps": {name: {"cpu_seconds": meter.cpu[name], "peak_bytes": meter.peaks[name]} for name in meter.cpu},
        "bytes": {name: entry.bytes for name, entry in kept.items()},
    }


def ask(folder: Path) -> dict[str, Any]:
    """What a question costs beyond its encoding, and how many of its facts are those that all vectors give."""
    memory = mnemodex.open(folder / "memory", encoders={"trigrams": TrigramEncoder()})
    retrievers: dict[str, Any] = {name: memory.retriever(name) for name in ("bridge", "hipporag2")}
    space = retrievers["bridge"].space
    numbers = np.random.default_rng(9).integers(0, len(space.graph.subjects), _QUESTIONS).tolist()
    questions = [f"Who {predicate} {subject}?" for subject, predicate, _ in space.facts(numbers)]
    vectors = space.encode(questions)
    parts: dict[str, Any] = {"a question is encoded": lambda question: space.encode([question])}
    for name, retriever in retrievers.items():
        parts[name] = partial(_search, retriever)
    found = {f"CPU ms, {name}": _milliseconds(part, questions) for name, part in parts.items()}
    parts = {
        "facts are linked": lambda row: space.nearest_facts(row[None], 10),
        "passages are compared": lambda row: space.dense(row[None]),
    }
    found |= {f"CPU ms, {name}": _milliseconds(part, list(vectors)) for name, part in parts.items()}
    # One of two facts that are as near will do.
    linked, exact = space.nearest_facts(vectors, 10).scores, space._fact_vectors._all(vectors, 10).scores
    found["recall of linked facts"] = float((linked >= exact[:, -1:] - 1e-6).mean())
    return found


def _search(retriever: Any, question: str) -> None:
    retriever.search([question], 10)


def _milliseconds(call: Any, arguments: Sequence[Any]) -> float:
    call(arguments[0])
    spent = time.process_time()
    for argument in arguments:
        call(argument)
    return 1000 * (time.process_time() - spent) / len(arguments)


def grow(folder: Path, count: int) -> dict[str, Any]:
    """Build one-line documents, once more, and with ten more; the part of the steps that ten more cost."""
    costs, steps = [], []
    for more in (0, 0, 10):
        write(folder, count, 6, 2 * count, more=more)
        done = _run("build", folder)
        costs.append(done["cpu_seconds"])
        steps.append({name: step["cpu_seconds"] for name, step in done["steps"].items()})
    rows: dict[str, Any] = {"whole build": [costs[0] - costs[1], costs[2] - costs[1]]}
    rows |= {name: [spent, steps[2].get(name, 0.0)] for name, spent in steps[0].items()}
    return rows


def _run(what: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, f"--{what}", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def scale_rows(sizes: list[int], built: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each step and result."""
    figures: dict[str, list[float]] = {"CPU seconds": [result["cpu_seconds"] for result in built]}
    for name in built[-1]["rows"]:
        figures[f"rows, {name}"] = [result["rows"][name] for result in built]
    for label in ("cpu_seconds", "peak_bytes"):
        for name in built[-1]["steps"]:
            values = [result["steps"].get(name, {}).get(label, 0) for result in built]
            figures[f"{label.replace('_', ' ')}, {name}"] = values
    for name in built[-1]["bytes"]:
        figures[f"bytes, {name}"] = [result["bytes"].get(name, 0) for result in built]
    return growth_rows(sizes, figures, " entities")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--documents", type=int, default=20_000, help="of the memory that ten more are added to; or 0")
    parser.add_argument("--folder", type=Path, help="for the memories, some 25 GB of a million entities")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for what, path in ((build, options.build), (ask, options.ask)):
        if path is not None:
            print(json.dumps(what(path)))
            return
    built, asked = [], []
    for entities in options.entities:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            write(Path(folder), entities // 10, 30, entities)
            built.append(_run("build", Path(folder)))
            asked.append(_run("ask", Path(folder)))
            print(json.dumps([built[-1], asked[-1]]), file=sys.stderr)
    if built:
        publish("Graphs of growing size", scale_rows(options.entities, built), json_path=options.json)
        for entities, row in zip(options.entities, asked, strict=True):
            publish(f"Questions to {entities:,} entities", [row], json_path=None)
    if options.documents:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            grown = grow(Path(folder), options.documents)
        rows = [{"step": name, "build": cost[0], "ten more": cost[1]} for name, cost in grown.items()]
        rows = [{**row, "share": row["ten more"] / row["build"] if row["build"] else None} for row in rows]
        publish(f"Ten documents more than {options.documents:,}: CPU seconds", rows, json_path=None)


if __name__ == "__main__":
    main()
