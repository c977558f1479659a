"""Verification: every checksum, id and cross-reference of a memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.registry import indexer_class
from mnemodex.indexers.rows import Rows
from mnemodex.pipelines.answers import read_answer
from mnemodex.pipelines.extractors.sorting import read_contents
from mnemodex.pipelines.plan import read_memo
from mnemodex.pipelines.read import content_hash
from mnemodex.pipelines.stages.pairs import pair_ids
from mnemodex.pipelines.verify_lm import check_states, check_tokens
from mnemodex.pipelines.verify_triples import check_mentions, check_names, check_triples
from mnemodex.schemas.errors import CorruptFileError, MnemodexError
from mnemodex.schemas.ids import hash_columns, hash_text
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import close_marker, marker_path, open_marker, open_store
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.schemas.manifest import Artifact, FileEntry, IndexEntry, Manifest
    from mnemodex.schemas.store.store import Store

_FOLDERS = ("tables", "indexes", "snapshots", "answers", "work")
_SMALL = {"work/plan-": read_memo, "work/triples-": read_contents, "answers/": read_answer}
"""Files that snapshots do not name and the checksum of which is inside, by how they begin; and what reads them."""

_ID_COLUMNS = {table.name: str(table.id_column) for table in (DOCUMENTS, CHUNKS)}


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
    known = _check_files(store, manifest, result)
    _check_strays(store, known, result)
    if not result.problems:
        result.problems.extend(_cross_references(store, manifest))
    return result


def _check_files(store: Store, manifest: Manifest, result: Verification) -> set[str]:
    """Compare the files of all snapshots with their checksums; returns the paths that snapshots name.

    A damaged result that was made anew has replaced the former in the older snapshots too: the newest one that names a
    file says what it is.
    """
    known = {"CURRENT"}
    markers: set[str] = set()
    try:
        for snapshot in store.history(manifest):
            known.add(f"snapshots/{snapshot.name}.json")
            for artifact in snapshot.artifacts():
                markers.add(marker_path(artifact))
                for entry in artifact.files:
                    if entry.path not in known:
                        known.add(entry.path)
                        _check_file(store, entry, result)
    except MnemodexError as error:
        result.problems.append(str(error))
    missing = [path for path in sorted(markers) if not store.files.exists(path)]
    result.problems.extend(f"{store.root / path}: this marker is missing; build again" for path in missing)
    return known


def _check_file(store: Store, entry: FileEntry, result: Verification) -> None:
    result.files += 1
    result.bytes += entry.bytes
    try:
        store.files.check(entry, again=True)
    except CorruptFileError as error:
        result.problems.append(str(error))


def _check_strays(store: Store, known: set[str], result: Verification) -> None:
    """Check markers, results that no snapshot names yet, plans and answers; report what nobody wrote."""
    walked = [path for folder in _FOLDERS for path in store.files.walk(folder)]
    for path in walked:
        if path.startswith("snapshots/") and path not in known:
            result.problems.append(f"{store.root / path}: is in no snapshot's history; remove it")
        elif path.startswith(tuple(_SMALL)) or _is_marker(path):
            _check_small(store, path, known, result)
    for path in walked:
        if path.startswith(("tables/", "indexes/")) and path not in known:
            result.problems.append(f"{store.root / path}: belongs to no finished result; remove it")


def _is_marker(path: str) -> bool:
    in_table = path.startswith("tables/") and path.endswith(".json")
    return in_table or (path.startswith("indexes/") and path.endswith("/marker.json"))


def _check_small(store: Store, path: str, known: set[str], result: Verification) -> None:
    """Check a marker, a remembered plan or an answer, which have their checksum inside."""
    known.add(path)
    try:
        data = store.files.read(path)
    except (OSError, CorruptFileError) as error:
        result.problems.append(f"{store.root / path}: cannot be read ({error}); remove it")
        return
    result.files += 1
    result.bytes += len(data)
    if _is_marker(path):
        _check_marker(store, path, data, known, result)
    elif next(read for begin, read in _SMALL.items() if path.startswith(begin))(data) is None:
        result.problems.append(f"{store.root / path}: is damaged; it is only a memo: remove it")


def _check_marker(store: Store, path: str, data: bytes, known: set[str], result: Verification) -> None:
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
    salt = manifest.recipe.get("id_salt", "")
    parts = {name: {part.label: part for part in table.partitions} for name, table in manifest.tables.items()}
    for part in parts["documents"].values():
        yield from _check_documents(store, part, salt)
    for part in parts["chunks"].values():
        yield from _check_chunks(store, parts["documents"][part.label], part, salt)
    for name, derived in parts.items():
        for part in derived.values():
            yield from _check_derived(store, parts, part, name, salt)
    for index in manifest.indexes.values():
        yield from _check_index(store, manifest, index)


def _check_derived(
    store: Store, parts: dict[str, dict[str, Artifact]], part: Artifact, table: str, salt: str
) -> Iterator[str]:
    """Problems of a partition that was made of another; all are given by table and label."""
    if table.startswith("embeddings/"):
        # Vectors of facts and entities are a table below that of the chunks.
        of = table.split("/")[2:] or ["chunks"]
        yield from _check_vectors(store, parts[of[0]][part.label], part, table)
    elif table.startswith("ngram_pairs/"):
        yield from _check_pairs(store, parts["documents"][part.label], part, table, salt)
    elif table.startswith("lm_tokens/"):
        yield from check_tokens(store, parts["documents"][part.label], part, table)
    elif table.startswith("lm_states/"):
        # A partition of documents has several of states.
        label = part.label.rpartition("-")[0]
        tokens = parts[table.replace("lm_states/", "lm_tokens/", 1)][label]
        yield from check_states(store, tokens, parts["chunks"][label], part, table)
    elif table == "triples":
        yield from check_triples(store, parts["chunks"][part.label], part, salt)
    elif table == "mentions":
        yield from check_mentions(store, parts["triples"][part.label], part)
    elif table in ("facts", "entities"):
        yield from check_names(store, part, table, salt)


def _check_documents(store: Store, documents: Artifact, salt: str) -> Iterator[str]:
    """Every doc_id is the hash of the key and the content."""
    place = f"{store.root}: documents partition {documents.label}"
    for batch in parquet.read_batches(_file(store, documents)):
        columns = (batch[name].to_pylist() for name in ("doc_id", "content_hash", "key", "title", "text", "metadata"))
        for doc_id, content, key, *parts in zip(*columns, strict=True):
            if content != content_hash(*parts) or doc_id != hash_text(key, content, salt=salt):
                yield f"{place}: the doc_id of {key!r} is not the hash of its key and content; build again"


def _check_chunks(store: Store, documents: Artifact, chunks: Artifact, salt: str) -> Iterator[str]:
    """Every chunk is `text[start:end]` of its document, and its id the hash of where it stands."""
    place = f"{store.root}: chunks partition {chunks.label}"
    document = parquet.read(_file(store, documents), columns=["doc_id", "text"])
    texts = dict(zip(document["doc_id"].to_pylist(), document["text"].to_pylist(), strict=True))
    table = parquet.read(_file(store, chunks))
    arrays = [table[name].to_numpy() for name in ("doc_id", "start", "end")]
    if not np.array_equal(hash_columns(arrays, salt=salt), table["chunk_id"].to_numpy()):
        yield f"{place}: a chunk_id is not the hash of its document and offsets; build again"
    for doc_id, start, end, text in zip(*(array.tolist() for array in arrays), table["text"].to_pylist(), strict=True):
        if doc_id not in texts:
            yield f"{place}: document {doc_id} is not in documents; build again"
        elif texts[doc_id][start:end] != text:
            yield f"{place}: a chunk of document {doc_id} is not its text from {start} to {end}; build again"


def _check_vectors(store: Store, source: Artifact, vectors: Artifact, table: str) -> Iterator[str]:
    """Vectors stand in the order of the chunks, facts or entities that they are of, the same in both files."""
    place = f"{store.root}: {table} partition {vectors.label}"
    content = parquet.read(_file(store, vectors))
    column = content.schema.names[0]
    ids = parquet.read(_file(store, source), columns=[column])[column]
    matrix = np.load(_file(store, vectors, ".npy"), mmap_mode="r", allow_pickle=False)
    if not content[column].equals(ids):
        yield f"{place}: its {column}s are not those of what it was made of; build again"
    if not np.array_equal(content["vector"].combine_chunks().flatten().to_numpy().reshape(matrix.shape), matrix):
        yield f"{place}: the Parquet and .npy vectors differ; build again"


def _check_pairs(store: Store, documents: Artifact, pairs: Artifact, table: str, salt: str) -> Iterator[str]:
    """Every target stands in the field of its document, and every id is the hash of what it is made of."""
    place = f"{store.root}: {table} partition {pairs.label}"
    columns = ["doc_id", "title", "text"]
    texts = {row["doc_id"]: row for row in parquet.read(_file(store, documents), columns=columns).to_pylist()}
    content = parquet.read(_file(store, pairs))
    if not np.array_equal(pair_ids(content, salt=salt), content["pair_id"].to_numpy()):
        yield f"{place}: a pair_id is not the hash of its document, question and place; build again"
    for row in content.select(["doc_id", "field", "target"]).to_pylist():
        doc_id, target = row["doc_id"], row["target"]
        if doc_id not in texts:
            yield f"{place}: document {doc_id} is not in documents; build again"
        elif target not in texts[doc_id]["text"] if row["field"] == "body" else target != texts[doc_id]["title"]:
            yield f"{place}: a target of document {doc_id} is not its text or title; build again"


def _check_index(store: Store, manifest: Manifest, index: IndexEntry) -> Iterator[str]:
    """An index holds each row of its tables once, and says of each id in which row of which partition it stands."""
    if index.table is None:
        return
    kind = indexer_class(index.type)
    folders = [store.files.local(shard.place) for shard in index.shards]
    kept = {(index.table, kind.id_column): folders}
    kept |= {(name, _ID_COLUMNS[name]): [folder / name for folder in folders] for name in kind.beside(index.settings)}
    for (table, column), places in kept.items():
        ids = {
            part.label: parquet.read(_file(store, part), columns=[column])[column].to_numpy()
            for part in manifest.tables[table].partitions
        }
        seen = {label: np.zeros(len(column_ids), np.int64) for label, column_ids in ids.items()}
        agree = all(_count_rows(Rows.open(place, id_column=column), ids, seen) for place in places)
        if not agree or not all((count == 1).all() for count in seen.values()):
            place = f"{store.root}: index {index.name}"
            yield f"{place} does not hold each row of {table} once; remove indexes/{index.name} and build again"


def _count_rows(rows: Rows, ids: dict[str, NDArray[np.int64]], seen: dict[str, NDArray[np.int64]]) -> bool:
    """Count in `seen` which rows of which partition a shard holds; whether its ids are those of the table."""
    for number, label in enumerate(rows.labels):
        here = rows.partition == number
        place = rows.row[here]
        if label not in ids or not ((place >= 0) & (place < len(ids[label]))).all():
            return False
        if (ids[label][place] != rows.ids[here]).any():
            return False
        seen[label] += np.bincount(place, minlength=len(ids[label]))
    return bool((rows.partition < len(rows.labels)).all())


def _file(store: Store, artifact: Artifact, ending: str = ".parquet") -> Path:
    return store.files.local(artifact.file(ending).path)
