"""A pinned snapshot: checked files and rows by position."""

from __future__ import annotations

import contextlib
import logging
import weakref
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Self

from mnemodex.retrievers.corrections import Corrections
from mnemodex.retrievers.tombstones import Tombstones, read_tombstones
from mnemodex.retrievers.weak import weak
from mnemodex.schemas.errors import START_OVER, CorruptFileError, SnapshotNotFoundError, UnknownIndexError, reason
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.row_groups import RowGroups
from mnemodex.schemas.store.store import open_store
from mnemodex.schemas.tables import CORRECTIONS, DOCUMENTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa

    from mnemodex.indexers.arrays import Array, Int64s
    from mnemodex.schemas.manifest import Artifact, Artifacts, IndexEntry, Manifest
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store

_log = logging.getLogger("mnemodex")


class Snapshot:
    """One snapshot of a memory, resolved once: later commits do not change what it shows.

    Every file is compared with its SHA-256 when it is first opened. The snapshot is not collected while it is open.

    Attributes:
        column: returns one column of one partition, by table, label and name, as an array; the last ones are kept.
        rows: of tables, those that were taken last.
        unpin: lets go of the snapshot, which may be collected from there on.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest
        self.rows = RowGroups()
        self._counted: set[Path] = set()
        # Without a reference to the snapshot itself, which would keep it, and its pin, until a collector comes by.
        self.column = lru_cache(maxsize=256)(weak(self._column))
        self.unpin: Callable[[], Any] = lambda: None
        self.pin()

    @classmethod
    def open(cls, root: str | Root, *, snapshot: str | int | None = None) -> Self:
        """Open the current snapshot of a memory, or one by its number.

        Raises:
            MemoryNotFoundError: there is no memory, or nothing was committed yet.
            SnapshotNotFoundError: there is no snapshot of that number.
        """
        store, manifest = open_store(root, snapshot=snapshot)
        if snapshot is not None:
            return cls(store, manifest)
        return cls.current(store, manifest) or cls(*open_store(root))

    @classmethod
    def current(cls, store: Store, manifest: Manifest | None = None) -> Self | None:
        """Open the newest snapshot of a memory, whose manifest may be known; None where nothing was committed."""
        while (manifest := manifest or store.current()) is not None:
            # One that was collected meanwhile is no longer the newest.
            with contextlib.suppress(SnapshotNotFoundError):
                return cls(store, manifest)
            manifest = None
        return None

    def pin(self) -> None:
        """Keep the snapshot from being collected until `unpin` is called, or nobody refers to it any more.

        Raises:
            SnapshotNotFoundError: it was collected.
        """
        if not self.manifest.name:
            # It is still built.
            return
        try:
            unpin = self.store.pin(self.manifest.name)
        except OSError as error:
            _log.warning("%s: `gc` cannot know that it is read (%s); do not run it now", self.store.root, reason(error))
        else:
            self.unpin = weakref.finalize(self, unpin)

    @property
    def name(self) -> str:
        """The snapshot's name."""
        return self.manifest.name

    @property
    def fields(self) -> dict[str, str]:
        """The columns of metadata that documents have, and the names of their types."""
        return self.manifest.tables[DOCUMENTS.label].fields

    @cached_property
    def metadata_fields(self) -> list[str]:
        """The names of all fields of the documents' metadata, for which all of it is read."""
        from mnemodex.retrievers.metadata_fields import stored_fields

        return stored_fields(self)

    @cached_property
    def views(self) -> dict[str, str]:
        """The tables by the names of their SQL views."""
        return {TableKey.parse(name).view: name for name in self.manifest.tables}

    @cached_property
    def tombstones(self) -> Tombstones:
        """What readers leave out."""
        return read_tombstones(self.store, self.manifest.tombstones)

    @cached_property
    def corrections(self) -> Corrections:
        """The rows of a graph's tables that change or go with what readers leave out."""
        entry = self.manifest.caches.get(CORRECTIONS.path)
        return Corrections(self.store, entry.partitions if entry is not None else ())

    def live_documents(self, label: str, rows: Int64s) -> Int64s:
        """Return those of some rows of a partition of documents that readers see."""
        if not len(self.tombstones.doc_id):
            return rows
        return rows[~self.tombstones.mask("doc_id", self.column(DOCUMENTS.label, label, "doc_id")[rows])]

    def index(self, name: str) -> IndexEntry:
        """Return the manifest's entry of an index.

        Raises:
            UnknownIndexError: there is no such index; the message lists those there are.
        """
        entry = self.manifest.indexes.get(name)
        if entry is None:
            names = ", ".join(self.manifest.indexes) or "none"
            raise UnknownIndexError(f"{self.store.root}: no index {name!r}; there are: {names}")
        return entry

    def shards(self, index: IndexEntry) -> list[Path]:
        """Return the folders of an index's shards, every file of them checked."""
        folders = []
        for shard in index.shards:
            folder = self.store.files.path(shard.folder)
            checked = {self.store.files.local(file) for file in shard.files} | {self.store.files.path(shard.marker)}
            # What is opened by its name there was compared with its checksum.
            for path in folder.rglob("*") if folder.is_dir() else [folder]:
                if path not in checked and not path.is_dir() and not path.name.startswith("."):
                    raise CorruptFileError(f"{path}: the memory does not name it; remove it, and build again")
            folders.append(folder)
        return folders

    def left_out(self, index: IndexEntry) -> list[Path]:
        """Return the folders of shards of the documents that tombstones name, of an index that takes these off."""
        folders = []
        for part in self.manifest.tombstones:
            folder = f"{part.folder}/{index.name}"
            files = [self.store.files.local(file) for file in part.files if file.path.startswith(f"{folder}/")]
            folders += [self.store.files.path(folder)] if files else []
        return folders

    def path(self, table: str, label: str, ending: str = ".parquet") -> Path:
        """Return a partition's file, checked."""
        part = self._partitions(table).find(label)
        if part is None:
            raise CorruptFileError(f"{self.store.root}: the table {table} has no partition {label!r}; {START_OVER}")
        return self._checked(part, ending)

    def paths(self, table: str, ending: str = ".parquet") -> list[Path]:
        """Return the files of all partitions of a table, checked, in order."""
        return [self._checked(part, ending) for part in self._partitions(table)]

    def _partitions(self, table: str) -> Artifacts:
        if table not in self.manifest.tables:
            raise CorruptFileError(f"{self.store.root}: has no table {table!r}; {START_OVER}")
        return self.manifest.tables[table].partitions

    def _checked(self, part: Artifact, ending: str) -> Path:
        path = self.store.files.local(part.file(ending))
        if ending == ".parquet" and path not in self._counted:
            rows = parquet.count(path)
            if rows != part.rows:
                raise CorruptFileError(f"{path}: has {rows} rows, not {part.rows} as the snapshot says; {START_OVER}")
            self._counted.add(path)
        return path

    def take(self, table: str, label: str, rows: Sequence[int] | Int64s, columns: Sequence[str]) -> pa.Table:
        """Return rows of one partition by position, in the order given."""
        return self.rows.take((table, label), partial(self.path, table, label), rows, columns)

    def release(self) -> None:
        """Let go of what was read and is kept in memory; what is asked afterwards is read again."""
        self.rows.clear()
        self.column.cache_clear()

    def _column(self, table: str, label: str, name: str) -> Array:
        return parquet.column(self.path(table, label), name)
