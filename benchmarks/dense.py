"""Our dense indexes against plain FAISS and plain hnswlib, in one run on the same vectors.

    python benchmarks/dense.py [--vectors FILE.npy] [--rows N] [--threads N] [--json FILE]

"ours" builds through the indexer (reading the files, choosing an order, measuring recall, writing the shard) and
searches through the searcher; "plain" hands the library the whole matrix at once and searches with the same value of
the parameter. Times are CPU seconds of the process, so other work on the machine matters little; that of measuring
recall, which plain libraries do not do, is left out of the build by its share of the wall time. A ratio is ours by
plain. Each search figure is the best of three.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import hnswlib
import numpy as np
import pyarrow as pa

from mnemodex.indexers.base import InputPartition
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]

K = 10
QUERIES = 1000
ORDERS = ("shuffle", "lid_desc", "lid_asc", "cluster", "as_is")


def synthetic(rows: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors in overlapping clusters of uneven size, sorted by cluster, with 24 directions inside a cluster."""
    rng = np.random.default_rng(seed)
    clusters = max(2, int(np.sqrt(rows)))
    member = np.sort(rng.choice(clusters, rows, p=rng.dirichlet(np.ones(clusters))))
    matrix = rng.normal(size=(clusters, dimension))[member]
    matrix += rng.normal(size=(rows, 24)) @ rng.normal(size=(24, dimension)) * 0.4
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def write_partition(folder: Path, matrix: NDArray[np.float32]) -> InputPartition:
    """The matrix as one embeddings partition with chunk ids 0, 1, …"""
    table = spec_of(TableKey("embeddings", "bench")).sized(matrix.shape[1])
    files = {"npy": folder / "data.npy", "parquet": folder / "data.parquet"}
    np.save(files["npy"], matrix)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    batch = pa.RecordBatch.from_arrays([pa.array(np.arange(len(matrix))), vectors], schema=table.schema)
    parquet.write(files["parquet"], table, [batch])
    return InputPartition("all", len(matrix), files)


def measure_search(search: Search, queries: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, float]:
    """Recall, and queries per CPU second in one batch and one by one."""
    found = search(queries)
    batch = min(_seconds(lambda: search(queries)) for _ in range(3))
    few = queries[:200]
    single = min(_seconds(lambda: [search(query[None]) for query in few]) for _ in range(3))
    hits = np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)])
    return {"recall": float(hits), "batch_qps": len(queries) / batch, "single_qps": len(few) / single}


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def build_ours(
    folder: Path, part: InputPartition, probes: Path, dimension: int, settings: dict[str, Any]
) -> tuple[dict[str, float], Any, Search]:
    """Build with the indexer; gives seconds, the measured recall and a search with the value it chose."""
    indexer = DenseIndexer(DenseSettings(**settings), part.rows, dimension)
    trained, shard = folder / "trained", folder / "shard"
    trained.mkdir(parents=True)
    shard.mkdir()
    begun = time.process_time()
    if indexer.needs_training:
        indexer.train([part], trained)
    training = time.process_time() - begun
    steps = indexer.build([part], shard, trained=trained, probes=probes).steps
    building = time.process_time() - begun - training
    measured = indexer.measure([shard]).recall
    searcher = DenseSearcher([shard], measured.value, vectors=lambda _: part.files["npy"])
    wall = sum(steps.values())
    share = {step: seconds / wall for step, seconds in steps.items()}
    seconds = {
        "build": training + building * (1 - share["probe"]),
        "probe": building * share["probe"],
        "order": building * share["order"],
    }
    return seconds, measured, lambda queries: searcher.search(queries, K)[1]


def build_plain_faiss(factory: str, matrix: NDArray[np.float32], value: int | None) -> tuple[float, Search]:
    """FAISS by its own calls."""
    index = faiss.index_factory(matrix.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    begun = time.process_time()
    if not index.is_trained:
        lists = faiss.extract_index_ivf(index).nlist
        sample = np.random.default_rng(0).choice(len(matrix), min(len(matrix), 100 * lists), replace=False)
        index.train(matrix[sample])
    index.add(matrix)
    seconds = time.process_time() - begun
    if value is not None:
        faiss.ParameterSpace().set_index_parameter(index, "efSearch" if "HNSW" in factory else "nprobe", value)
    return seconds, lambda queries: index.search(queries, K)[1]


def build_plain_hnswlib(matrix: NDArray[np.float32], value: int, threads: int) -> tuple[float, Search]:
    """Hnswlib by its own calls."""
    index = hnswlib.Index(space="ip", dim=matrix.shape[1])
    index.init_index(max_elements=len(matrix), M=16, ef_construction=200)
    index.set_num_threads(threads)
    begun = time.process_time()
    index.add_items(matrix)
    seconds = time.process_time() - begun
    index.set_ef(value)
    return seconds, lambda queries: index.knn_query(queries, k=K)[0].astype(np.int64)


def compare(
    folder: Path, matrix: NDArray[np.float32], queries: NDArray[np.float32], probes: Path, threads: int
) -> Iterable[dict[str, Any]]:
    """One row for each kind of index, ours and plain."""
    part = write_partition(folder, matrix)
    truth = faiss.knn(queries, matrix, K, metric=faiss.METRIC_INNER_PRODUCT)[1]
    shuffled = np.random.default_rng(0).permutation(len(matrix))
    lists = 1 << int(np.log2(4 * np.sqrt(len(matrix))))
    for name in ("Flat", f"IVF{lists},Flat", "HNSW32", "hnswlib"):
        chosen = {"engine": "hnswlib"} if name == "hnswlib" else {"factory": name}
        seconds, measured, ours = build_ours(folder / name, part, probes, matrix.shape[1], chosen)
        if name == "hnswlib":
            plain_seconds, plain = build_plain_hnswlib(matrix[shuffled], measured.value, threads)
        else:
            plain_seconds, plain = build_plain_faiss(name, matrix[shuffled], measured.value)
        row = {
            "index": name,
            "value": measured.value,
            "promised": measured.recall,
            "ours": {**measure_search(ours, queries, truth), **seconds},
            "plain": {**measure_search(lambda q, f=plain: shuffled[f(q)], queries, truth), "build": plain_seconds},
        }
        row["ratio"] = {name: row["ours"][name] / row["plain"][name] for name in ("build", "batch_qps", "single_qps")}
        yield row


def compare_orders(folder: Path, matrix: NDArray[np.float32], probes: Path, seeds: int) -> Iterable[dict[str, Any]]:
    """Recall of a graph grown in each order, as the build measures it."""
    part = write_partition(folder, matrix)
    for engine in ({"factory": "HNSW16"}, {"engine": "hnswlib", "m": 8}):
        for order in ORDERS:
            curves, seconds = [], 0.0
            for seed in range(seeds if order == "shuffle" else 1):
                settings = {**engine, "order": order, "seed": seed}
                spent, measured, _ = build_ours(
                    folder / f"{len(engine)}{order}{seed}", part, probes, matrix.shape[1], settings
                )
                curves.append(measured.curve)
                seconds = spent["order"]
            points = {value: float(np.mean([curve[value] for curve in curves])) for value in (16, 32, 64)}
            yield {
                "index": engine.get("factory", "hnswlib M8"),
                "order": order,
                "recall": points,
                "order_seconds": seconds,
            }


def print_tables(result: dict[str, Any]) -> None:
    print(f"\n{result['rows']} vectors of {result['dimension']} dimensions, {result['threads']} threads, recall@{K}")
    print(f"{'index':14} {'value':>5} {'recall: promised':>16} {'ours':>6} {'plain':>6}", end=" ")
    print(
        f"{'build s':>8} {'plain':>7} {'ratio':>6} {'probe s':>8} {'batch q/s':>10} {'plain':>8} {'ratio':>6}", end=" "
    )
    print(f"{'single q/s':>10} {'plain':>8} {'ratio':>6}")
    for row in result["indexes"]:
        ours, plain, ratio = row["ours"], row["plain"], row["ratio"]
        print(f"{row['index']:14} {row['value'] or '-':>5} {row['promised']:16.3f}", end=" ")
        print(f"{ours['recall']:6.3f} {plain['recall']:6.3f} {ours['build']:8.2f} {plain['build']:7.2f}", end=" ")
        print(f"{ratio['build']:6.2f} {ours['probe']:8.2f}", end=" ")
        print(f"{ours['batch_qps']:10.0f} {plain['batch_qps']:8.0f} {ratio['batch_qps']:6.2f}", end=" ")
        print(f"{ours['single_qps']:10.0f} {plain['single_qps']:8.0f} {ratio['single_qps']:6.2f}")
    print(f"\n{'graph':12} {'order':10} {'ef 16':>7} {'ef 32':>7} {'ef 64':>7} {'order s':>8}")
    for row in result["orders"]:
        figures = " ".join(f"{recall:7.4f}" for recall in row["recall"].values())
        print(f"{row['index']:12} {row['order']:10} {figures} {row['order_seconds']:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, help=".npy of float32, unit length; synthetic ones without it")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=128, help="of synthetic vectors")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3, help="shuffles to average over")
    parser.add_argument("--json", type=Path, help="write the figures here too, else they end the output")
    given = parser.parse_args()
    set_threads(given.threads)
    every = synthetic(given.rows + 2 * QUERIES, given.dimension) if given.vectors is None else np.load(given.vectors)
    every = every[: given.rows + 2 * QUERIES].astype(np.float32)
    asked = np.zeros(len(every), dtype=bool)
    asked[np.random.default_rng(1).choice(len(every), 2 * QUERIES, replace=False)] = True
    matrix, (probes, queries) = (
        every[~asked],
        np.split(every[asked][np.random.default_rng(2).permutation(2 * QUERIES)], 2),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "probes.npy", probes)
        result = {"rows": len(matrix), "dimension": matrix.shape[1], "threads": given.threads}
        for part in ("indexes", "orders"):
            (folder / part).mkdir()
        result["indexes"] = list(compare(folder / "indexes", matrix, queries, folder / "probes.npy", given.threads))
        result["orders"] = list(compare_orders(folder / "orders", matrix, folder / "probes.npy", given.seeds))
    print_tables(result)
    if given.json is None:
        json.dump(result, sys.stdout)
        print()
    else:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
