"""The change log: documents that were added to a memory, or deleted, after its source was read.

It is a list of layers, one a change. Of all that the source and the layers say of a key, what the last layer says
counts. A later build reads it again after the source, so that what was added stays and what was deleted stays away.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.manifest import Artifact, Artifacts, TableEntry, fingerprint
from mnemodex.schemas.steps import SourceUnit
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.store.local_files import sha256
from mnemodex.schemas.tables import CHANGES, PURGES, spec_of
from mnemodex.schemas.typed_fields import metadata_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.store.store import Store

_ROWS, _BYTES = 8192, 4 << 20
"""Rows and bytes of texts of a partition."""

_LABEL = re.compile(r"\+(\d{6})-\d{5}")
"""No label of a source's split begins with a plus sign."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A key whose document is no longer in the memory."""

    key: str


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """The layers of a memory, in order; their partitions are named after the layer.

    Attributes:
        partitions: of the layers.
        purges: what was purged, of which no layer says anything; see `documents.purges`.
    """

    partitions: tuple[Artifact, ...] = ()
    purges: tuple[Artifact, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest | None) -> ChangeLog:
        """Return the log of a snapshot."""
        caches = manifest.caches if manifest is not None else {}
        found = [caches[key.path].partitions if key.path in caches else () for key in (CHANGES, PURGES)]
        return cls(*map(tuple, found))

    @property
    def layer(self) -> int:
        """The number of the last layer; 0 where there is none."""
        return max((layer_of(part.label) for part in self.partitions), default=0)

    @property
    def units(self) -> tuple[SourceUnit, ...]:
        """The partitions as units of the step that reads documents."""
        return tuple(
            SourceUnit(part.label, fingerprint(part.label, part.fingerprint), part.place, bytes=part.bytes)
            for part in self.partitions
        )

    @property
    def entry(self) -> dict[str, TableEntry]:
        """What a manifest's caches say of it; nothing of an empty one."""
        parts = {CHANGES: self.partitions, PURGES: self.purges}
        return {
            key.path: TableEntry(name=key.label, partitions=Artifacts(found)) for key, found in parts.items() if found
        }

    def extended(self, partitions: Iterable[Artifact]) -> ChangeLog:
        """Return it with the partitions of a further layer."""
        return replace(self, partitions=(*self.partitions, *partitions))

    def without_deletions(self, store: Store) -> ChangeLog:
        """Return it as if nothing had been deleted; documents that were added before stay as they were added last."""
        kept: list[Artifact] = []
        for part in self.partitions:
            rows = parquet.read(store.files.local(part.file(".parquet")))
            added = rows.filter(pc.invert(rows["deleted"]))
            if len(added) == len(rows):
                kept.append(part)
            elif len(added):
                kept.append(_publish(store, part.label, added))
        return replace(self, partitions=tuple(kept))

    def compacted(self, store: Store) -> ChangeLog:
        """Return it as one layer that says of each key only what counts, and the log itself where it is that."""
        last: dict[str, int] = {}
        for number, part in enumerate(self.partitions):
            last.update(dict.fromkeys(_keys(store, part).to_pylist(), number))
        rows = (
            row
            for number, part in enumerate(self.partitions)
            for row in read_changes(store, part.place)
            if last[row.key] == number
        )
        return replace(self, partitions=tuple(write_layer(store, self.layer, rows)))

    def without(self, store: Store, keys: pa.Array) -> ChangeLog:
        """Return it as if it had never said anything of some keys, an array of strings."""
        kept: list[Artifact] = []
        for part in self.partitions:
            named = pc.is_in(_keys(store, part), value_set=keys)
            if not pc.any(named).as_py():
                kept.append(part)
            elif not pc.all(named).as_py():
                rows = parquet.read(store.files.local(part.file(".parquet")))
                kept.append(_publish(store, part.label, rows.filter(pc.invert(named))))
        return replace(self, partitions=tuple(kept))

    def keys(self, store: Store) -> pa.Array:
        """Return all keys that it names, some more than once."""
        return pa.chunked_array([_keys(store, part) for part in self.partitions], pa.string()).combine_chunks()


def _keys(store: Store, part: Artifact) -> pa.Array:
    return parquet.read(store.files.local(part.file(".parquet")), columns=["key"])["key"].combine_chunks()


def layer_of(label: str) -> int:
    """Return which layer a partition of documents is of; 0 for the source."""
    match = _LABEL.fullmatch(label)
    return int(match[1]) if match else 0


def is_change(place: str) -> bool:
    """Whether a unit reads the change log and not the source."""
    return place.startswith(f"{CHANGES.path}/")


def read_changes(store: Store, place: str) -> Iterator[Record | Deletion]:
    """Yield what a partition of the log adds and deletes."""
    path = store.files.local(store.checked(place).file(".parquet"))
    for batch in parquet.read_batches(path):
        for key, deleted, title, text, metadata, source, line in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            yield Deletion(key) if deleted else Record(key, title, text, json.loads(metadata), source, line)


def write_layer(store: Store, layer: int, changes: Iterable[Record | Deletion]) -> list[Artifact]:
    """Write a layer in partitions of bounded size, and return them."""
    rows = iter(changes)
    parts: list[Artifact] = []
    while batch := list(_bounded(rows)):
        parts.append(_publish(store, f"+{layer:06d}-{len(parts):05d}", _table(batch)))
    return parts


def _bounded(rows: Iterator[Record | Deletion]) -> Iterator[Record | Deletion]:
    size = 0
    for row in islice(rows, _ROWS):
        yield row
        size += len(row.text) if isinstance(row, Record) else 0
        if size >= _BYTES:
            return


def _table(rows: Sequence[Record | Deletion]) -> pa.Table:
    records = [row if isinstance(row, Record) else Record(row.key, "", "", line=0) for row in rows]
    deleted = np.fromiter((isinstance(row, Deletion) for row in rows), np.bool_, len(rows))
    schema = spec_of(CHANGES).schema
    columns = {
        "deleted": pa.array(deleted),
        "metadata": [metadata_text(row.metadata) for row in records],
        **{name: [getattr(row, name) for row in records] for name in ("key", "title", "text", "source", "line")},
    }
    return pa.Table.from_arrays([to_column(columns[field.name], field.type) for field in schema], schema=schema)


def _publish(store: Store, label: str, rows: pa.Table) -> Artifact:
    attempt = store.files.attempt()
    path = attempt / "data.parquet"
    parquet.write(path, spec_of(CHANGES), rows.combine_chunks().to_batches())
    return store.publish(attempt, CHANGES.path, label, fingerprint(sha256(path)), rows=len(rows))
