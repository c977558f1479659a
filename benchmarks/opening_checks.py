"""Opening index files of some 20 to 50 MB with the checks of what is in them, compared with hashing the same files."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import read_arrow, write_arrow
from mnemodex.indexers.bm25 import WordCounts
from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
from mnemodex.indexers.dense.hnswlib_file import check_file
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.ngram import Ragged, build
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.indexers.ngram.shard import FMShard
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.retrievers.word_shards import open_counts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_REPEATS = 5


def checks(folder: Path, scale: float) -> list[dict[str, Any]]:
    """Return a row for each form of files."""
    rows = []
    for name, (write, read) in FORMS.items():
        # The first files load the kernels.
        for number, size in enumerate((0.001, scale)):
            place = folder / f"{name} {number}"
            place.mkdir()
            write(place, size)
            figures = compared(place, read)
        rows.append({"what": f"opening {name}", **figures})
    return rows


def compared(folder: Path, read: Callable[[Path], object]) -> dict[str, float]:
    """Return the size of the files of a folder, and the least CPU seconds of opening and of hashing them."""
    files = [path for path in folder.rglob("*") if path.is_file()]

    def hash_all() -> None:
        for path in files:
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    def open_all() -> None:
        for path in files:
            # Files that have not changed since are not checked again.
            os.utime(path)
        read(folder)

    opened, hashed = least(open_all), least(hash_all)
    size = sum(path.stat().st_size for path in files) / 1e6
    return {"CPU s": opened, "MB": size, "hashed, CPU s": hashed, "ratio": opened / hashed}


def least(call: Callable[[], None]) -> float:
    """Return the least CPU seconds of several calls."""
    seconds = []
    for _ in range(_REPEATS):
        before = time.process_time()
        call()
        seconds.append(time.process_time() - before)
    return min(seconds)


def write_rows(folder: Path, scale: float) -> None:
    count, random = int(1.5e6 * scale), np.random.default_rng(0)
    ids = np.sort(random.integers(0, 1 << 62, count))
    rows = np.arange(count, dtype=np.int64)
    Rows(ids, np.zeros(count, np.int32), rows, ("part",)).save(folder)


def write_hnsw(folder: Path, scale: float) -> None:
    vectors = np.random.default_rng(0).standard_normal((int(25_000 * scale), 384)).astype(np.float32)
    settings = DenseSettings(engine="hnswlib", embed="any", ef_construction=20)
    engine = HnswlibEngine.create(settings, *vectors.shape)
    engine.add([vectors])
    engine.save(folder)


def write_counts(folder: Path, scale: float) -> None:
    rows, words, random = int(1e5 * scale), int(2e5 * scale), np.random.default_rng(0)
    postings = 40 * rows
    indptr = np.concatenate([[0], np.sort(random.integers(0, postings, words - 1)), [postings]])
    counts = random.integers(1, 9, postings, np.int32)
    names = pa.array(f"word{number:08d}" for number in range(words))
    documents = random.integers(0, rows, postings, np.int32)
    WordCounts(names, indptr, documents, counts, random.integers(1, 99, rows, np.int32)).save(folder)


def write_ngrams(folder: Path, scale: float) -> None:
    random, documents = np.random.default_rng(0), int(3e4 * scale)
    tokens = np.minimum(random.zipf(1.3, documents * 250), 29_999).astype(np.int32)
    build([{"body": Ragged(tokens, np.arange(documents + 1) * 250)}], folder, np.arange(30_000))


def write_chunks(folder: Path, scale: float) -> None:
    documents = int(5e5 * scale)
    chunks = np.arange(documents + 1, dtype=np.int64) * 4
    ChunkMap(np.arange(documents * 4, dtype=np.int64) * 50, chunks, chunks * 50).save(folder)


def write_graph(folder: Path, scale: float) -> None:
    random, entities, passages = np.random.default_rng(0), int(3e5 * scale), int(1e5 * scale)
    pairs, facts = 4 * (entities + passages), 2 * entities
    places = {name: random.integers(0, entities, facts, np.int32) for name in ("subjects", "objects", "passage_facts")}
    weights = {name: random.random(pairs, np.float32) for name in ("fact", "mention", "synonym")}
    Graph(
        entity_ids=np.arange(entities, dtype=np.int64),
        chunk_ids=np.arange(passages, dtype=np.int64),
        indptr=np.arange(entities + passages + 1, dtype=np.int64) * 4,
        indices=random.integers(0, entities + passages, pairs, np.int32),
        passage_offsets=np.linspace(0, facts, passages + 1).astype(np.int64),
        entity_passages=random.integers(0, passages, entities, np.int32),
        **places,
        **weights,
    ).save(folder)


def write_names(folder: Path, scale: float) -> None:
    names = pa.array(f"an entity of number {number}" for number in range(int(8e5 * scale)))
    write_arrow(folder / "names.arrow", pa.table({"name": names, "norm": names}))


FORMS: dict[str, tuple[Callable[[Path, float], None], Callable[[Path], object]]] = {
    "rows of any index": (write_rows, Rows.open),
    "an hnswlib graph": (write_hnsw, lambda folder: check_file(folder / "index.hnsw", 384)),
    "counts of BM25": (write_counts, lambda folder: open_counts("words", folder, len(np.load(folder / "lengths.npy")))),
    "an FM-index": (write_ngrams, lambda folder: FMShard(folder / "00000" / "body")),
    "chunks of n-grams": (write_chunks, ChunkMap.open),
    "a graph": (write_graph, Graph.open),
    "texts of a graph": (write_names, lambda folder: read_arrow(folder / "names.arrow")),
}
