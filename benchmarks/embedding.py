"""Embedding through the engine against a plain sentence-transformers loop over the same length-sorted texts.

python benchmarks/embedding.py [--source FILE.jsonl] [--rows N] [--json FILE]

Both encode the same passages with the same weights on all CPUs. Rates are after start-up: the loop's clock starts when
its model is loaded and warm, the engine's counts the time in which its workers worked on partitions. The chunks are
made before; start-up (Ray, workers, model loading) is the rest of the step's wall time, reported apart. The loop runs
in a process of its own, before and after the engine. On a busy machine trust the ratio of CPU seconds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from report import publish

import mnemodex
from mnemodex.demo.corpus import write_corpus
from mnemodex.indexers.models.locate import locate
from mnemodex.indexers.text import passages
from mnemodex.pipelines.vectors.encode import EncodeOutcome
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.store import parquet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="a corpus; the Python manual by default")
    parser.add_argument("--rows", type=int, default=2000, help="most passages")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop is not None:
        loop(options.loop)
        return
    with tempfile.TemporaryDirectory() as folder:
        publish(
            "Embedding, MiniLM, float32", measure(Path(folder), options.source, options.rows), json_path=options.json
        )


def measure(folder: Path, source: Path | None, rows: int) -> list[dict[str, Any]]:
    """Encode a corpus both ways."""
    corpus = source or write_corpus(folder / "manual", full=True)
    recipe: dict[str, Any] = {
        "memory": str(folder / "memory"),
        "source": str(_head(corpus, folder, rows)),
        "chunks": {"by": "document"},
        "indexes": {"words": {"type": "bm25"}},
    }
    mnemodex.build(recipe)
    snapshot = Snapshot.open(folder / "memory")
    texts = [text for path in snapshot.paths("chunks") for text in passages(parquet.read(path))]
    before = plain_loop(texts, folder)
    result = mnemodex.build({**recipe, "indexes": {"dense": {"type": "dense"}}})
    after = plain_loop(texts, folder)
    step = next(step for step in result.steps if step.name == "embeddings/minilm")
    parts = Snapshot.open(folder / "memory").manifest.tables["embeddings/minilm"].partitions
    stats = [part.stats.of(EncodeOutcome) for part in parts]
    workers = min(len(stats), os.cpu_count() or 1) if result.engine == "Ray" else 1
    worked = sum(one.seconds for one in stats) / workers
    cpu = sum(one.cpu_seconds for one in stats)
    loop, loop_cpu = ((first + second) / 2 for first, second in zip(before, after, strict=True))
    return [
        {"way": "plain loop, sorted, batch 32", **_rates(len(texts), loop, loop_cpu)},
        {
            "way": f"engine ({result.engine}), {workers} worker(s)",
            **_rates(len(texts), worked, cpu),
            "ratio of rates": loop / worked,
            "ratio of CPU": loop_cpu / cpu,
            "padded/real tokens": sum(one.padded for one in stats) / sum(one.tokens for one in stats),
            "start-up seconds": step.seconds - worked + result.start_seconds,
        },
    ]


def _rates(rows: int, seconds: float, cpu: float) -> dict[str, Any]:
    return {"rows": rows, "seconds": seconds, "CPU seconds": cpu, "rows/s": rows / seconds}


def plain_loop(texts: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of the plain loop in a new process."""
    path = folder / "texts.json"
    path.write_text(json.dumps(texts), encoding="utf-8")
    done = subprocess.run([sys.executable, __file__, "--loop", str(path)], capture_output=True, text=True, check=True)
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def loop(path: Path) -> None:
    """Time `SentenceTransformer.encode` over length-sorted texts, the model loaded and warm."""
    from sentence_transformers import SentenceTransformer

    ordered = sorted(json.loads(path.read_text(encoding="utf-8")), key=len, reverse=True)
    model = SentenceTransformer(str(locate(DEFAULT_MODEL)), device="cpu")
    model.encode(ordered[-64:], batch_size=32)
    started, spent = time.perf_counter(), time.process_time()
    for start in range(0, len(ordered), 32):
        model.encode(ordered[start : start + 32], batch_size=32, normalize_embeddings=True)
    print(json.dumps([time.perf_counter() - started, time.process_time() - spent]))


def _head(corpus: Path, folder: Path, rows: int) -> Path:
    """The first rows of a JSONL corpus, as two files, so that there are two partitions to share out."""
    lines: list[str] = []
    for path in sorted(corpus.iterdir()) if corpus.is_dir() else [corpus]:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            lines.extend(islice(file, rows - len(lines)))
    target = folder / "source"
    target.mkdir()
    for number in range(2):
        (target / f"part-{number}.jsonl").write_text("".join(lines[number::2]), encoding="utf-8")
    return target


if __name__ == "__main__":
    main()
