"""Dense indexes within a memory budget, and filtered searches, over real vectors and real questions.

    python benchmarks/dense_scale.py --vectors FILE.npy --queries FILE.npy [--filters] [--threads N] [--json FILE]

`benchmarks/sentence_vectors.py` makes such files. 500 of the questions measure recall while an index is built and tune
its search; the others are asked afterwards, so that neither the build nor the tuning has seen them. `held-out` rows
mean that no question was given to the build. `memory` is what FAISS wrote, by that of Flat; `read` are the bytes of
vectors that a question reads by its hits. Searches are timed in CPU seconds, in one batch of all questions, the best of
three.

With `--filters` searches by 500 of the questions are restricted to a random part of the rows. `index` asks the index,
which looks at so many more candidates; `ours` is what a `where` does, which compares the rows exactly where they are
few.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from dense import write_partition
from report import publish

from mnemodex.indexers.dense import searcher as searcher_module
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.vector_settings import DenseSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mnemodex.indexers.base import InputPartition

K = 10
PROBES = 500
FILTERED = 500
SHARES = (0.003, 0.01, 0.1, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--filters", action="store_true", help="restrict the searches, in the place of budgets")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    set_threads(given.threads)
    matrix = np.load(given.vectors)[: given.rows].astype(np.float32)
    questions = np.load(given.queries).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), matrix, questions)
        title = f"{len(matrix)} vectors of {matrix.shape[1]} dimensions, {len(bench.asked)} unseen questions"
        measured = bench.filters() if given.filters else bench.budgets()
        publish(title, list(measured), json_path=given.json)


class Bench:
    """Vectors, questions, and the exact answers to those that no build sees."""

    def __init__(self, folder: Path, matrix: NDArray[np.float32], questions: NDArray[np.float32]) -> None:
        self.folder = folder
        self.matrix = matrix
        self.part: InputPartition = write_partition(folder, matrix)
        self.probes = folder / "probes.npy"
        np.save(self.probes, questions[:PROBES])
        self.asked = questions[PROBES:]
        self.truth = faiss.knn(self.asked, matrix, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
        self.flat = matrix.nbytes
        self.opened: dict[str, DenseSearcher] = {}

    def budgets(self) -> Iterator[dict[str, Any]]:
        """Build and search each index."""
        budgets = {f"budget 1/{part}": {"memory_budget": self.flat // part} for part in (2, 8, 16)}
        wanted: dict[str, dict[str, Any]] = {
            "Flat": {"factory": "Flat"},
            "HNSW32": {"factory": "HNSW32"},
            "IVF512,Flat": {"factory": "IVF512,Flat"},
            **budgets,
            "IVF512,RaBitQ": {"factory": "IVF512,RaBitQ", "refine": "auto"},
            "IVF512,RaBitQ, no refining": {"factory": "IVF512,RaBitQ"},
        }
        for name, settings in wanted.items():
            yield self.measure(name, settings, self.probes)
        yield self.measure("budget 1/8, held-out rows", budgets["budget 1/8"], None)

    def measure(self, name: str, settings: dict[str, Any], probes: Path | None) -> dict[str, Any]:
        """Build one index, and ask it."""
        shard, indexer, seconds = self.build(name, settings, probes)
        measured = indexer.measure([shard])
        recall = measured.recall
        searcher = self.opened[name] = self.open(shard, indexer)
        found, cpu = _timed(lambda: searcher.search(self.asked, K)[1])
        size = (shard / "index.faiss").stat().st_size
        return {
            "index": name,
            "built as": indexer.factory,
            "memory": f"1/{self.flat / size:.1f}",
            "nprobe, efSearch": recall.value,
            "refine": recall.refine,
            "recall promised": f"{recall.recall:.3f} ({recall.interval})",
            "seen": f"{recall_of(found, self.truth):.3f}",
            "reached": recall.reached,
            "read": f"{(recall.refine or 0) * K * 4 * indexer.dimension / 1024:.0f} KiB",
            "questions a CPU second": round(len(self.asked) / cpu),
            "build CPU s": round(seconds, 1),
        }

    def filters(self) -> Iterator[dict[str, Any]]:
        """Restrict the searches of an HNSW and an IVF index."""
        rng = np.random.default_rng(0)
        asked = self.asked[:FILTERED]
        for name in ("HNSW32", "IVF512,Flat"):
            shard, indexer, _ = self.build(name, {"factory": name}, self.probes)
            self.opened[name] = self.open(shard, indexer)
        for share in SHARES:
            kept = np.sort(rng.choice(len(self.matrix), round(share * len(self.matrix)), replace=False))
            best = faiss.knn(asked, self.matrix[kept], K, metric=faiss.METRIC_INNER_PRODUCT)[1]
            for name in ("HNSW32", "IVF512,Flat"):
                searcher = self.opened[name]
                row = {"index": name, "kept": f"{share:.1%}", "rows": len(kept)}
                for way in ("index", "ours"):
                    with _exact(allowed=way == "ours"):
                        found, cpu = _timed(lambda s=searcher, ids=kept: s.search(asked, K, allowed=ids)[1])
                    row[f"recall, {way}"] = f"{recall_of(found, kept[best]):.3f}"
                    row[f"ms, {way}"] = round(1000 * cpu / len(asked), 2)
                yield row

    def build(self, name: str, settings: dict[str, Any], probes: Path | None) -> tuple[Path, DenseIndexer, float]:
        """Build one shard; returns it with the CPU seconds of training, adding and measuring."""
        indexer = DenseIndexer(DenseSettings(**settings), len(self.matrix), self.matrix.shape[1])
        shard, trained = self.folder / name.replace("/", "-"), self.folder / f"{name.replace('/', '-')} trained"
        shard.mkdir()
        trained.mkdir()
        begun = time.process_time()
        if indexer.needs_training:
            indexer.train([self.part], trained)
        indexer.build([self.part], shard, trained=trained, probes=probes)
        return shard, indexer, time.process_time() - begun

    def open(self, shard: Path, indexer: DenseIndexer) -> DenseSearcher:
        """Open it with what was measured."""
        search = indexer.measure([shard]).search
        return DenseSearcher([shard], search.value, vectors=lambda _: self.part.files["npy"], refine=search.refine)


class _exact:  # noqa: N801 - a context
    """Within it, filters are answered exactly where that is what a search would do, or never."""

    def __init__(self, *, allowed: bool) -> None:
        self._figures = None if allowed else (searcher_module.EXACT_SHARE, searcher_module.EXACT_ROWS)

    def __enter__(self) -> None:
        if self._figures:
            searcher_module.EXACT_SHARE, searcher_module.EXACT_ROWS = 0.0, 0

    def __exit__(self, *_: object) -> None:
        if self._figures:
            searcher_module.EXACT_SHARE, searcher_module.EXACT_ROWS = self._figures


def _timed(search: Callable[[], NDArray[np.int64]]) -> tuple[NDArray[np.int64], float]:
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        found = search()
        seconds.append(time.process_time() - begun)
    return found, min(seconds)


def recall_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]))


if __name__ == "__main__":
    main()
