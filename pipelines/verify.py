"""Verification: every checksum, id and cross-reference of a memory."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.rows import Rows
from mnemodex.pipelines.checks.partition import CheckedPartition, check_parents
from mnemodex.pipelines.entries import declared_tables
from mnemodex.schemas.errors import (
    CorruptFileError,
    MnemodexError,
    NodeCacheError,
    ObjectStoreError,
    RecipeError,
    reason,
)
from mnemodex.schemas.kinds import KINDS, load
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.collected import COLLECTED, Collected
from mnemodex.schemas.store.lists import is_list
from mnemodex.schemas.store.sealed import unseal
from mnemodex.schemas.store.snapshots import manifest_file
from mnemodex.schemas.store.store import open_marker, open_store
from mnemodex.schemas.tables import TOMBSTONES, TableKey, table_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.manifest import Artifact, FileEntry, IndexEntry, Manifest
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store

_FOLDERS = ("tables", "indexes", "snapshots", "answers", "work")
_SEALED = ("work/content-", "work/built.json", "answers/")
"""Files that snapshots do not name and that hold a checksum of themselves."""
_RESULT = re.compile(r"-[0-9a-f]{16,}-[0-9a-f]{10}[./]")
"""In the path of a file of a result; see `Store.publish`."""


@dataclass
class Verification:
    """Files that were read, their bytes, and problems, one sentence each: none for a sound memory.

    Attributes:
        unfinished: files that a writer moved in place and died before it said that they are whole. They are no
            problem: nobody reads them, the same step writes them again, and a collection removes them.
    """

    files: int = 0
    bytes: int = 0
    unfinished: int = 0
    problems: list[str] = field(default_factory=list)


def verify(root: str | Root) -> Verification:
    """Compare every file of every snapshot with its checksum, then check the current tables' ids and offsets.

    Raises:
        MemoryNotFoundError: there is no memory.
        CorruptFileError: `CURRENT` or the current manifest is damaged, so that nothing else can be checked.
    """
    store, manifest = open_store(root)
    before = _collected(store)
    result = _verify(store, manifest)
    while result.problems and (now := _collected(store)) != before:
        # What was missing may have been collected meanwhile.
        before = now
        result = _verify(*open_store(root))
    return result


def _collected(store: Store) -> Collected | None:
    """Return what was collected, or None where that is damaged."""
    try:
        return store.collected()
    except CorruptFileError:
        return None


def _verify(store: Store, manifest: Manifest) -> Verification:
    result = Verification()
    known = _check_files(store, manifest, result)
    _check_strays(store, known, result)
    if not result.problems:
        result.problems.extend(_cross_references(store, manifest))
    return result


def _check_files(store: Store, manifest: Manifest, result: Verification) -> set[str]:
    """Compare the files of all snapshots with their checksums; return the paths that snapshots name.

    Where a damaged result was computed again with other bytes, the newest snapshot that names it counts.
    """
    known: set[str] = set()
    if not store.is_named():
        result.problems.append(f"{store.root / 'CURRENT'}: is missing or damaged; run the build again")
    markers: dict[str, str] = {}
    try:
        for snapshot in store.history(manifest):
            known.add(manifest_file(snapshot.name))
            for artifact in _listed(store, snapshot, known, result, is_current=snapshot.name == manifest.name):
                replaced = artifact.place in markers
                markers.setdefault(artifact.place, artifact.marker)
                for entry in artifact.files:
                    if entry.path not in known:
                        known.add(entry.path)
                        if not replaced:
                            _check_file(store, entry, result)
    except (ObjectStoreError, NodeCacheError):
        # It says nothing of the files.
        raise
    except MnemodexError as error:
        result.problems.append(str(error))
    missing = [path for path in sorted(markers.values()) if not store.files.exists(path)]
    result.problems.extend(f"{store.root / path}: this marker is missing; build again" for path in missing)
    return known


def _listed(
    store: Store, snapshot: Manifest, known: set[str], result: Verification, *, is_current: bool
) -> Iterator[Artifact]:
    """Yield the artifacts of a snapshot but for those in list files that were read before."""
    for artifacts in snapshot.lists():
        if artifacts.lists is None:
            yield from artifacts
        for part in artifacts.lists or ():
            if part.path in known:
                continue
            known.add(part.path)
            try:
                yield from artifacts.only(part.__eq__)
            except CorruptFileError as error:
                # A build makes the lists of the current snapshot again.
                former = f"{store.root / part.path}: is damaged or missing, and only the former snapshot "
                former += f"{snapshot.name} names it; restore it from a copy, or give the former snapshots up: remove "
                former += "CURRENT and the folder snapshots, and build again, which finds what is computed"
                result.problems.append(str(error) if is_current else former)
            else:
                result.files += 1
                result.bytes += store.files.size(part.path) or 0


def _check_file(store: Store, entry: FileEntry, result: Verification) -> None:
    result.files += 1
    result.bytes += entry.bytes
    try:
        store.files.check(entry)
    except CorruptFileError as error:
        result.problems.append(str(error))


def _is_of_a_desktop(path: str) -> bool:
    """Return whether a file is what file managers leave in the folders that they show."""
    name = path.rpartition("/")[2]
    return name in {".DS_Store", "Thumbs.db", "desktop.ini", ".directory"} or name.startswith("._")


def _check_strays(store: Store, known: set[str], result: Verification) -> None:
    """Check markers, results that no snapshot names yet, plans and answers; report what nobody wrote.

    What a collection was removing when it was stopped is nobody's.
    """
    walked = [path for folder in _FOLDERS for path in store.files.list(folder) if not _is_of_a_desktop(path)]
    with contextlib.suppress(CorruptFileError):
        known.update((COLLECTED, *map(manifest_file, store.removed())))
        if store.collected().pending:
            walked = [path for path in walked if path in known or not path.startswith(("tables/", "indexes/"))]
    for path in walked:
        if path.startswith("snapshots/") and path not in known:
            # A build that died before its commit leaves lists, which the next one may use.
            if not is_list(store.files, path):
                result.problems.append(f"{store.root / path}: is in no snapshot's history; remove it")
        elif path.startswith(_SEALED) or _is_marker(path):
            _check_sealed(store, path, known, result)
    for path in walked:
        if not path.startswith(("tables/", "indexes/")) or path in known:
            continue
        if _RESULT.search(path):
            result.unfinished += 1
        else:
            result.problems.append(f"{store.root / path}: belongs to no finished result; remove it")


def _is_marker(path: str) -> bool:
    in_table = path.startswith(("tables/", "work/plan/")) and path.endswith(".json")
    if path.startswith(f"{TOMBSTONES.path}/"):
        # They may hold shards.
        return in_table and path.count("/") == TOMBSTONES.path.count("/") + 1
    # A shard may have files that are JSON; in format 2 its marker is one of them.
    of_shard = path.startswith("indexes/") and (path.count("/") == 2 or path.endswith("/marker.json"))
    return in_table or (of_shard and path.endswith(".json"))


def _check_sealed(store: Store, path: str, known: set[str], result: Verification) -> None:
    """Check a marker, a remembered plan or an answer, which have their checksum inside."""
    known.add(path)
    try:
        data = store.files.read(path)
    except ObjectStoreError:
        raise
    except (OSError, CorruptFileError) as error:
        result.problems.append(f"{store.root / path}: cannot be read ({reason(error)}); remove it")
        return
    result.files += 1
    result.bytes += len(data)
    if _is_marker(path):
        _check_marker(store, path, data, known, result)
    elif unseal(data) is None:
        result.problems.append(f"{store.root / path}: is damaged; it is only a memo: remove it")


def _check_marker(store: Store, path: str, data: bytes, known: set[str], result: Verification) -> None:
    try:
        marker = json.loads(data)
        # As it was written, by whatever version: one that came later may know more of an artifact.
        artifact = open_marker(marker) if json.dumps(marker, sort_keys=True).encode() == data else None
    except (ValueError, RecursionError):
        artifact = None
    if artifact is None:
        result.problems.append(f"{store.root / path}: this marker is damaged; remove it and build again")
        return
    for entry in artifact.files:
        if entry.path not in known:
            known.add(entry.path)
            _check_file(store, entry, result)


def _cross_references(store: Store, manifest: Manifest) -> Iterator[str]:
    """Yield problems of the current snapshot's ids and rows, partition by partition."""
    try:
        declared = declared_tables(parse_recipe(manifest.recipe, name="recipe", base=store.files.scratch))
    except RecipeError as error:
        declared = {}
        yield f"{store.root}: the tables of an index cannot be checked: {error}"
    for label, table in manifest.tables.items():
        key = TableKey.parse(label)
        spec = declared.get(key) or table_spec(key)
        for part in table.partitions:
            partition = CheckedPartition(store, manifest, table, part)
            yield from check_parents(partition)
            if spec is not None and spec.check:
                yield from load(spec.check)(partition)
    for index in manifest.indexes.values():
        yield from _check_index(store, manifest, index)


def _check_index(store: Store, manifest: Manifest, index: IndexEntry) -> Iterator[str]:
    """Check that an index holds each row of its tables once, with its place."""
    if index.table is None:
        return
    try:
        entry = KINDS.find(index.type)
    except RecipeError as error:
        yield f"{store.root}: index {index.name} cannot be checked: {error}"
        return
    kind, settings = load(entry.indexer), load(entry.settings).model_validate(index.settings)
    for file in (file for shard in index.shards for file in shard.files):
        store.files.unchecked(file)
    folders = [store.files.path(shard.folder) for shard in index.shards]
    kept = {(index.table, kind.id_column): folders}
    for key in kind.aligned(settings):
        column = manifest.tables[key.label].id_column
        if column is not None:
            kept[key.label, column] = [folder / key.label for folder in folders]
    for (table, column), places in kept.items():
        ids = {
            part.label: parquet.column(store.files.unchecked(part.file(".parquet")), column)
            for part in manifest.tables[table].partitions
        }
        seen = {label: np.zeros(len(column_ids), np.int64) for label, column_ids in ids.items()}
        try:
            agree = all(_count_rows(Rows.open(place, id_column=column), ids, seen) for place in places)
        except CorruptFileError:
            agree = False
        if not agree or not all((count == 1).all() for count in seen.values()):
            where = f"{store.root}: index {index.name}"
            yield f"{where} does not hold each row of {table} once; remove indexes/{index.name} and build again"


def _count_rows(rows: Rows, ids: dict[str, Int64s], seen: dict[str, Int64s]) -> bool:
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
