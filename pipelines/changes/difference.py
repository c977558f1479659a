"""What is different between two snapshots of a memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.artifact_lists import Artifacts
    from mnemodex.schemas.manifest import Artifact, IndexEntry, Manifest, TableEntry

_COLUMNS = ["doc_id", "key", "content_hash"]


@dataclass(frozen=True, slots=True)
class Documents:
    """Keys of documents, ascending, of an earlier and a later snapshot.

    Attributes:
        added: of those that only the later one has.
        removed: of those that only the earlier one has.
        changed: of those whose content is another one.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What is different.

    Attributes:
        documents: of both.
        tables: rows before and after of each table that is not the same, by name; None where there is none.
        indexes: likewise.
        recipe: values before and after of each setting that is not the same, by its path; None where it is not set.
    """

    documents: Documents
    tables: dict[str, tuple[int | None, int | None]]
    indexes: dict[str, tuple[int | None, int | None]]
    recipe: dict[str, tuple[Any, Any]]


def compare(before: Snapshot, after: Snapshot) -> Difference:
    """Return what is different; of documents, only partitions are read that both snapshots do not share."""
    one, two = before.manifest, after.manifest
    recipes = dict(_leaves(one.recipe)), dict(_leaves(two.recipe))
    names = sorted(recipes[0].keys() | recipes[1].keys())
    return Difference(
        documents=compare_documents(before, after),
        tables=_rows(one.tables, two.tables),
        indexes=_rows(one.indexes, two.indexes),
        recipe={
            name: (recipes[0].get(name), recipes[1].get(name))
            for name in names
            if recipes[0].get(name) != recipes[1].get(name)
        },
    )


def compare_documents(before: Snapshot, after: Snapshot) -> Documents:
    """Return which documents are different; memory grows with the rows of partitions that are not shared."""
    parts = [_partitions(snapshot.manifest) for snapshot in (before, after)]
    shared: set[str] = set()
    if before.manifest.tombstones == after.manifest.tombstones:
        shared = parts[0].keys() & parts[1].keys()
    one, two = (
        _read(snapshot, [part for place, part in own.items() if place not in shared])
        for snapshot, own in zip((before, after), parts, strict=True)
    )
    joined = one.join(two, "key", join_type="full outer", right_suffix="_after")
    was, now = joined["content_hash"], joined["content_hash_after"]
    chosen = (pc.is_null(was), pc.is_null(now), pc.fill_null(pc.not_equal(was, now), False))
    return Documents(*(sorted(joined["key"].filter(rows).to_pylist()) for rows in chosen))


def written_bytes(before: Manifest | None, after: Manifest) -> int:
    """Return the bytes of the results that a snapshot names, and the one before it does not."""
    own = {part.path for artifacts in after.lists() for part in artifacts.lists or ()}
    former = (
        {part.path for artifacts in before.lists() for part in artifacts.lists or ()} if before is not None else set()
    )
    known = {part.place for part in _unlisted(before, own)} if before is not None else set()
    found = {part.place: part.bytes for part in _unlisted(after, former)}
    return sum(size for place, size in found.items() if place not in known)


def _unlisted(manifest: Manifest, shared: set[str]) -> Iterator[Artifact]:
    """Yield the results of a snapshot but for those in some list files."""
    for artifacts in manifest.lists():
        yield from artifacts.only(lambda part: part.path not in shared)


def _partitions(manifest: Manifest) -> dict[str, Artifact]:
    table = manifest.tables.get(DOCUMENTS.label)
    return {part.place: part for part in table.partitions} if table is not None else {}


def _read(snapshot: Snapshot, parts: list[Artifact]) -> pa.Table:
    """Return keys and contents of the documents of some partitions, but for those that tombstones name."""
    tables = [pa.table({name: pa.array([], pa.string()) for name in _COLUMNS[1:]})]
    for part in parts:
        rows = parquet.read(snapshot.store.files.local(part.file(".parquet")), columns=_COLUMNS)
        masked = snapshot.tombstones.mask("doc_id", numbers(rows["doc_id"]))
        tables.append(rows.filter(pa.array(np.logical_not(masked))).select(_COLUMNS[1:]))
    return pa.concat_tables(tables, promote_options="permissive")


def _rows(
    before: Mapping[str, TableEntry] | Mapping[str, IndexEntry],
    after: Mapping[str, TableEntry] | Mapping[str, IndexEntry],
) -> dict[str, tuple[int | None, int | None]]:
    """Return the rows of tables or indexes that are not the same."""
    found = {}
    for name in sorted(before.keys() | after.keys()):
        one, two = before.get(name), after.get(name)
        same = one is not None and two is not None and one.rows == two.rows
        if not same or not _parts(one).same_results(_parts(two)):
            found[name] = (one.rows if one is not None else None, two.rows if two is not None else None)
    return found


def _parts(entry: Any) -> Artifacts:
    """Return the partitions of a table, or the shards of an index."""
    found: Artifacts = entry.partitions if hasattr(entry, "partitions") else entry.shards
    return found


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a recipe that are no mappings, by their paths."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else name)
    else:
        yield path, value
