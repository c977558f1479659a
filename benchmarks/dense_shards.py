"""Compare the search of several shards of a dense index, each with its inverted lists, with that of one shard.

    python benchmarks/dense_shards.py [--rows N] [--shards N] [--factories F …] [--json FILE]

Random vectors of 128 dimensions, of which 24 are of their own, around 400 centres, of unit length. All shards are
built with one set of centroids, as an index builds them, and searched by the same parameters: recall@10 against exact
search, CPU milliseconds of a question (500 in one batch, and one by one), vectors that are compared by themselves, and
bytes.
One thread; the smallest of three runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from report import publish

from mnemodex.indexers.base import InputPartition
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.store import parquet
from mnemodex.schemas.table import TableSpec, row_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s

_DIMENSION, _OWN, _CENTRES, _QUESTIONS, _K = 128, 24, 400, 500, 10
_REFINE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--factories", nargs="*", default=["IVF512,Flat", "IVF512,PQ32x8", "IVF512,RaBitQ2"])
    parser.add_argument("--nprobe", nargs="*", type=int, default=[16, 64])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    set_threads(1)
    drawn = vectors(options.rows + _QUESTIONS)
    rows, questions = drawn[:-_QUESTIONS], drawn[-_QUESTIONS:]
    exact = np.argsort(-(questions @ rows.T), axis=1)[:, :_K]
    results = []
    with tempfile.TemporaryDirectory() as name:
        parts = write_partitions(Path(name), rows, options.shards)
        for factory in options.factories:
            results += measure(Path(name) / factory, factory, parts, questions, exact, options.nprobe)
    publish(f"{options.shards} shards and one, of {options.rows} vectors", results, json_path=options.json)


def vectors(count: int) -> Float32s:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((_CENTRES, _OWN))
    own = centres[generator.integers(0, _CENTRES, count)] + 0.5 * generator.standard_normal((count, _OWN))
    drawn = own @ generator.standard_normal((_OWN, _DIMENSION)) + 0.3 * generator.standard_normal((count, _DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def write_partitions(folder: Path, rows: Float32s, count: int) -> list[InputPartition]:
    """Write the vectors as partitions of embeddings, one for each shard."""
    schema = row_schema(chunk_id=pa.int64())
    parts = []
    for number, part in enumerate(np.array_split(np.arange(len(rows)), count)):
        files = {"npy": folder / f"{number}.npy", "parquet": folder / f"{number}.parquet"}
        np.save(files["npy"], rows[part])
        parquet.write(files["parquet"], TableSpec(schema), [pa.record_batch([pa.array(part)], schema=schema)])
        parts.append(InputPartition(str(number), len(part), files))
    return parts


def measure(
    folder: Path,
    factory: str,
    parts: Sequence[InputPartition],
    questions: Float32s,
    exact: Any,
    probes: Sequence[int],
) -> list[dict[str, Any]]:
    """Build the shards and the one, and search both."""
    is_exact = factory.endswith("Flat")
    refine = None if is_exact else _REFINE
    settings = DenseSettings(embed="e", factory=factory, metric="ip", refine=refine)
    indexer = DenseIndexer(settings, rows=sum(part.rows for part in parts), dimension=_DIMENSION)
    trained = folder / "trained"
    trained.mkdir(parents=True)
    indexer.train(parts, trained)
    results = []
    for name, groups in (("one", [list(parts)]), (f"{len(parts)} shards", [[part] for part in parts])):
        shards = []
        for number, group in enumerate(groups):
            shards.append(folder / name / str(number))
            shards[-1].mkdir(parents=True)
            indexer.build(group, shards[-1], trained=trained)
        size = sum(path.stat().st_size for shard in shards for path in shard.glob("index.faiss"))
        for nprobe in probes:
            by_label = {part.label: part.files["npy"] for part in parts}
            searcher = DenseSearcher(shards, nprobe, vectors=by_label.__getitem__, refine=refine)
            found = searcher.search(questions, _K)[1]
            recall = np.mean([len(np.intersect1d(*pair)) / _K for pair in zip(found, exact, strict=True)])
            results.append(
                {
                    "factory": factory,
                    "as": name,
                    "nprobe": nprobe,
                    "recall@10": round(float(recall), 4),
                    "ms, batch": round(cpu(searcher, [questions]), 3),
                    "ms, one by one": round(cpu(searcher, np.split(questions, _QUESTIONS)), 3),
                    "compared": 0 if refine is None else refine * (_K + 1) * len(shards),
                    "MB": round(size / 1e6, 1),
                }
            )
            print(results[-1], flush=True)
    return results


def cpu(searcher: DenseSearcher, batches: Sequence[Float32s]) -> float:
    """Return the milliseconds of CPU of a question."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        for batch in batches:
            searcher.search(batch, _K)
        taken.append(time.process_time() - begun)
    return 1000 * min(taken) / _QUESTIONS


if __name__ == "__main__":
    main()
