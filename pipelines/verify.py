"""Verification: every checksum, id and cross-reference of a memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.registry import indexer_class
from mnemodex.pipelines.plan import read_memo
from mnemodex.schemas.errors import CorruptFileError, MnemodexError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import close_marker, open_marker, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.schemas.manifest import Artifact, FileEntry, IndexEntry, Manifest
    from mnemodex.schemas.store.store import Store


@dataclass
class Verification:
    """What was read and what is wrong.

    Attributes:
        files: files read.
        bytes: their bytes.
        problems: one sentence each; none for a sound memory.
    """

    files: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)


def verify(root: str | Path) -> Verification:
    """Compare every file of every snapshot with its checksum, then check the current tables' ids and offsets.

    Raises:
        MemoryNotFoundError: there is no memory.
        CorruptFileError: `CURRENT` or the current manifest is damaged, so that nothing else can be checked.
    """
    store, manifest = open_store(root)
    result = Verification()
    known = _check_files(store, result)
    _check_strays(store, known, result)
    if not result.problems:
        result.problems.extend(_cross_references(store, manifest))
    return result


def _check_files(store: Store, result: Verification) -> set[str]:
    """Compare the files of all snapshots with their checksums; returns the paths that snapshots name."""
    known = {"CURRENT"}
    seen: set[FileEntry] = set()
    history = store.history()
    while True:
        try:
            manifest = next(history, None)
        except MnemodexError as error:
            result.problems.append(str(error))
            return known
        if manifest is None:
            return known
        known.add(f"snapshots/{manifest.name}.json")
        for artifact in _artifacts(manifest):
            for entry in artifact.files:
                known.add(entry.path)
                if entry not in seen:
                    seen.add(entry)
                    _check_file(store, entry, result)


def _artifacts(manifest: Manifest) -> Iterator[Artifact]:
    for table in manifest.tables.values():
        yield from table.partitions
    for index in manifest.indexes.values():
        yield from index.shards
    yield from manifest.tombstones


def _check_file(store: Store, entry: FileEntry, result: Verification) -> None:
    result.files += 1
    result.bytes += entry.bytes
    try:
        store.files.check(entry, again=True)
    except CorruptFileError as error:
        result.problems.append(str(error))


def _check_strays(store: Store, known: set[str], result: Verification) -> None:
    """Check markers, results that no snapshot names yet, and remembered plans; report what nobody wrote."""
    for path in [path for folder in ("tables", "indexes", "snapshots", "work") for path in store.files.walk(folder)]:
        if path in known:
            continue
        data = store.files.read(path)
        result.files += 1
        result.bytes += len(data)
        if path.startswith("work/plan-"):
            if read_memo(data) is None:
                result.problems.append(f"{store.root / path}: is damaged; it is only a memo: remove it")
        elif (path.startswith("tables/") and path.endswith(".json")) or path.endswith("/marker.json"):
            _check_marker(store, path, data, known, result)
        elif path.startswith("snapshots/"):
            result.problems.append(f"{store.root / path}: is in no snapshot's history; remove it")
    for path in [path for folder in ("tables", "indexes") for path in store.files.walk(folder)]:
        if path not in known:
            result.problems.append(f"{store.root / path}: belongs to no finished result; remove it")


def _check_marker(store: Store, path: str, data: bytes, known: set[str], result: Verification) -> None:
    known.add(path)
    try:
        artifact = open_marker(json.loads(data))
    except ValueError:
        artifact = None
    if artifact is None or close_marker(artifact) != data:
        result.problems.append(f"{store.root / path}: this marker is damaged; remove it and build again")
        return
    for entry in artifact.files:
        if entry.path not in known:
            known.add(entry.path)
            _check_file(store, entry, result)


def _cross_references(store: Store, manifest: Manifest) -> Iterator[str]:
    """Problems of the current snapshot's ids and offsets, partition by partition."""
    documents = {part.label: part for part in manifest.tables["documents"].partitions}
    salt = manifest.recipe.get("id_salt", "")
    for chunks in manifest.tables["chunks"].partitions:
        yield from _check_chunks(store, documents[chunks.label], chunks, salt)
    for name, table in manifest.tables.items():
        if name.startswith("embeddings/"):
            chunk_parts = {part.label: part for part in manifest.tables["chunks"].partitions}
            for part in table.partitions:
                yield from _check_vectors(store, chunk_parts[part.label], part, name)
    for index in manifest.indexes.values():
        yield from _check_index(store, manifest, index)


def _check_chunks(store: Store, documents: Artifact, chunks: Artifact, salt: str) -> Iterator[str]:
    """Every chunk is `text[start:end]` of its document, and its id the hash of where it stands."""
    place = f"{store.root}: chunks partition {chunks.label}"
    document = parquet.read(store.files.local(documents.file(".parquet").path), columns=["doc_id", "text"])
    texts = dict(zip(document["doc_id"].to_pylist(), document["text"].to_pylist(), strict=True))
    table = parquet.read(store.files.local(chunks.file(".parquet").path))
    arrays = [table[name].to_numpy() for name in ("doc_id", "start", "end")]
    if not np.array_equal(hash_columns(arrays, salt=salt), table["chunk_id"].to_numpy()):
        yield f"{place}: a chunk_id is not the hash of its document and offsets; build again"
    for doc_id, start, end, text in zip(*(array.tolist() for array in arrays), table["text"].to_pylist(), strict=True):
        if doc_id not in texts:
            yield f"{place}: document {doc_id} is not in documents; build again"
        elif texts[doc_id][start:end] != text:
            yield f"{place}: a chunk of document {doc_id} is not its text from {start} to {end}; build again"


def _check_vectors(store: Store, chunks: Artifact, vectors: Artifact, table: str) -> Iterator[str]:
    """Vectors stand in the order of their chunks, the same in both files."""
    place = f"{store.root}: {table} partition {vectors.label}"
    ids = parquet.read(store.files.local(chunks.file(".parquet").path), columns=["chunk_id"])["chunk_id"]
    content = parquet.read(store.files.local(vectors.file(".parquet").path))
    matrix = np.load(store.files.local(vectors.file(".npy").path), mmap_mode="r", allow_pickle=False)
    if not content["chunk_id"].equals(ids):
        yield f"{place}: its chunk ids are not those of the chunks; build again"
    if not np.array_equal(content["vector"].combine_chunks().flatten().to_numpy().reshape(matrix.shape), matrix):
        yield f"{place}: the Parquet and .npy vectors differ; build again"


def _check_index(store: Store, manifest: Manifest, index: IndexEntry) -> Iterator[str]:
    """An index holds each row of its table once."""
    if index.table is None:
        return
    table = manifest.tables[index.table]
    column = indexer_class(index.type).id_column
    expected = [
        parquet.read(store.files.local(part.file(".parquet").path), columns=[column])[column].to_numpy()
        for part in table.partitions
    ]
    held = [
        np.load(store.files.local(shard.file(f"/{column}s.npy").path), mmap_mode="r", allow_pickle=False)
        for shard in index.shards
    ]
    if not np.array_equal(np.sort(np.concatenate(expected)), np.sort(np.concatenate(held))):
        place = f"{store.root}: index {index.name}"
        yield f"{place} does not hold each row of {index.table} once; remove indexes/{index.name} and build again"
