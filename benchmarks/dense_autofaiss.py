"""Compare our dense index with autofaiss's, on the same vectors and with the same memory budget.

    python benchmarks/dense_autofaiss.py --vectors FILE.npy --queries FILE.npy [--cache FOLDER] [--json FILE]

autofaiss 2.18 wants another NumPy and an older FAISS, so it runs in a venv of its own in `--cache`. It has no target of
recall: it takes the search parameters with which a query takes its ten milliseconds at most; ours those that reach
recall@10 of .95. Both build a whole index, and one of an eighth of the memory of the vectors. Ours is tuned with 500 of
the questions; the others are asked of both. One thread, CPU seconds, searches in one batch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dense_scale import Bench, recall_of
from report import publish

from mnemodex.indexers.dense.devices import set_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "2.18.0"
FACTOR = 8
PEER = """
import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np
from autofaiss import build_index

folder = Path(sys.argv[1])
given = json.loads((folder / "peer.json").read_text())
rows, questions = np.load(folder / "rows.npy"), np.load(folder / "questions.npy")
faiss.omp_set_num_threads(1)
begun = time.process_time()
_, infos = build_index(
    rows,
    index_path=str(folder / "peer.index"),
    index_infos_path=str(folder / "peer-infos.json"),
    max_index_memory_usage=given["memory"],
    current_memory_available="8GB",
    min_nearest_neighbors_to_retrieve=10,
    metric_type="ip",
    nb_cores=1,
    verbose=40,
)
built = time.process_time() - begun
index = faiss.read_index(str(folder / "peer.index"))
faiss.omp_set_num_threads(1)
seconds = []
for _ in range(3):
    begun = time.process_time()
    answers = index.search(questions, 10)[1]
    seconds.append(time.process_time() - begun)
np.save(folder / "answers.npy", answers)
figures = {
    "built as": infos["index_key"],
    "parameters": infos["index_param"],
    "bytes": (folder / "peer.index").stat().st_size,
    "build": built,
    "search": min(seconds),
}
(folder / "figures.json").write_text(json.dumps(figures))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "mnemodex-benchmarks")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    set_threads(1)
    matrix, questions = (np.load(path).astype(np.float32) for path in (given.vectors, given.queries))
    python = peer_python(given.cache)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), matrix, questions)
        title = f"{len(matrix)} vectors, {len(bench.asked)} unseen questions"
        publish(title, list(rows(bench, python)), json_path=given.json)


def rows(bench: Bench, python: Path) -> Iterator[dict[str, Any]]:
    """Measure both with each budget."""
    for name, settings in (("HNSW32", {"factory": "HNSW32"}), ("budget", {"memory_budget": bench.flat // FACTOR})):
        yield {"by": "ours", **bench.measure(name, settings, bench.probes)}
    for budget in (bench.flat // FACTOR, 4 * bench.flat):
        yield {"by": "autofaiss", **peer(bench, python, budget)}


def peer(bench: Bench, python: Path, budget: int) -> dict[str, Any]:
    """Build and search by autofaiss."""
    folder = bench.folder / f"peer {budget}"
    folder.mkdir()
    np.save(folder / "rows.npy", bench.matrix)
    np.save(folder / "questions.npy", bench.asked)
    asked = {"memory": f"{budget // 1024}KB"}
    (folder / "peer.json").write_text(json.dumps(asked), encoding="utf-8")
    subprocess.run([python, "-c", PEER, folder], check=True, stdout=subprocess.DEVNULL)
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return {
        "built as": figures["built as"],
        "memory": f"1/{bench.flat / figures['bytes']:.1f}",
        "nprobe, efSearch": figures["parameters"],
        "seen": f"{recall_of(np.load(folder / 'answers.npy'), bench.truth):.3f}",
        "questions a CPU second": round(len(bench.asked) / figures["search"]),
        "build CPU s": round(figures["build"], 1),
    }


def peer_python(cache: Path) -> Path:
    """Return the interpreter of a venv that has autofaiss; it is made once."""
    home = cache / f"autofaiss-{VERSION}"
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"autofaiss=={VERSION}", "faiss-cpu<1.9", "pyarrow<20"],
            check=True,
        )
        (home / "installed").touch()
    return python


if __name__ == "__main__":
    main()
