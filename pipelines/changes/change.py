"""One change of a memory: a layer of its change log, and a snapshot in which all indexes follow it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnemodex.pipelines.caller import spooled
from mnemodex.pipelines.changes.base import changing
from mnemodex.pipelines.changes.incoming import Incoming
from mnemodex.pipelines.changes.lookup import check_keys, find_documents, keys_where
from mnemodex.pipelines.changes.masking import can_mask, write_tombstones
from mnemodex.pipelines.documents.changes import ChangeLog, Deletion, write_layer
from mnemodex.pipelines.documents.masking import with_tombstones
from mnemodex.pipelines.outcome import BuildResult
from mnemodex.pipelines.run import Revision
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import DuplicateKeyError, QueryError, RecipeError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.source_sections import NoSource
from mnemodex.schemas.tables import CHANGES, CORRECTIONS, DOCUMENTS, TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.pipelines.changes.base import Base, Work
    from mnemodex.pipelines.changes.lookup import Found
    from mnemodex.pipelines.sources.base import Record
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the change log before it is written.

    Attributes:
        rows: what it adds and deletes.
        count: how many documents that are.
        added: the hash of the content of each document that it adds, by key.
        removed: the ids of documents that are there and will not be.
    """

    rows: Iterable[Record | Deletion]
    count: int
    added: Mapping[str, str]
    removed: Sequence[int]

    def revives(self, base: Base) -> bool:
        """Whether it adds a document again as it was, which a tombstone names."""
        if not base.manifest.tombstones:
            return False
        ids = [hash_text(key, content, salt=base.recipe.id_salt) for key, content in self.added.items()]
        tombstones = read_tombstones(base.store, base.manifest.tombstones)
        return bool(tombstones.mask("doc_id", np.array(ids, np.int64)).any())


class Change(Protocol):
    """What is to be changed."""

    def layer(self, base: Base, warnings: list[str]) -> Layer:
        """Return what the log says of the documents that change; add to the warnings.

        Raises:
            MnemodexError: it cannot be done; nothing is changed.
        """


@dataclass(frozen=True, slots=True)
class Add:
    """Documents of a file or folder, or given as mappings, are added; or with `update` take the place of others.

    Attributes:
        source: a path, or mappings with the fields of the recipe's source.
        update: whether each key is one that the memory has, instead of none.
    """

    source: str | Path | Iterable[Mapping[str, Any]]
    update: bool = False

    def layer(self, base: Base, warnings: list[str]) -> Layer:
        """See `Change`: documents that the memory has as they are change nothing, and are counted."""
        if isinstance(base.recipe.source, NoSource):
            raise RecipeError(f"{base.store.root}: has question-answer pairs only; build it with a source")
        incoming = self._open(base)
        found = find_documents(base.store, base.manifest, incoming.contents)
        there = {key: document.content for key, document in found.items()}
        if self.update:
            check_keys(base.store, base.manifest, list(incoming.contents), there)
        new = {key for key, content in incoming.contents.items() if there.get(key) != content}
        clash = None if self.update else next((key for key in incoming.contents if key in new and key in there), None)
        if clash is not None:
            raise DuplicateKeyError(
                f"{base.store.root}: has a document with the key {clash!r} and other content; update it instead"
            )
        warnings += incoming.warnings
        same = len(incoming.contents) - len(new)
        if same:
            warnings.append(f"{same} document{'' if same == 1 else 's'} unchanged: in the memory with the same content")
        added = {key: content for key, content in incoming.contents.items() if key in new}
        return Layer(incoming.records(new), len(new), added, [found[key].doc_id for key in added if key in found])

    def _open(self, base: Base) -> Incoming:
        if isinstance(self.source, str | Path):
            return Incoming.open(self.source, base.recipe)
        folder = base.store.files.attempt()
        rows: Any = spooled(base.recipe, self.source, folder).source
        # A program's rows are all meant.
        return Incoming.open(rows.path, base.recipe, max_errors=0)


@dataclass(frozen=True, slots=True)
class Delete:
    """Documents are deleted: those of some keys, or those that a boolean SQL expression over `documents d` keeps."""

    keys: Sequence[str] | None = None
    where: str | None = None

    def layer(self, base: Base, warnings: list[str]) -> Layer:
        """See `Change`."""
        found = self.chosen(base)
        removed = [document.doc_id for document in found.values()]
        return Layer([Deletion(key) for key in found], len(found), {}, removed)

    def chosen(self, base: Base) -> dict[str, Found]:
        """Return the documents that are to be deleted, by key.

        Raises:
            QueryError: there is no document with one of the keys, or nothing would be left.
        """
        if self.where is not None:
            self.named()
            keys = keys_where(base.store, base.manifest, self.where)
        else:
            keys = self.named()
        found = find_documents(base.store, base.manifest, keys)
        check_keys(base.store, base.manifest, keys, found)
        self.check_rest(base, found)
        return found

    def named(self) -> list[str]:
        """Return the keys that are given, each once."""
        if (self.keys is None) == (self.where is None):
            raise QueryError("delete takes the keys of documents, or a `where` that keeps them: one of both")
        return list(dict.fromkeys(_checked_keys(self.keys or ())))

    def check_rest(self, base: Base, there: Mapping[str, Found]) -> None:
        """Refuse to delete all documents."""
        if there and len(there) == base.manifest.tables[DOCUMENTS.label].rows:
            raise QueryError(
                f"{base.store.root}: this would delete all {len(there)} documents; remove the memory's folder instead"
            )


def _checked_keys(keys: Any) -> Sequence[str]:
    if isinstance(keys, str | bytes) or not all(isinstance(key, str) for key in keys):
        raise QueryError("delete takes a list of keys, each a string: delete(keys=[key])")
    return list(keys)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did.

    Attributes:
        documents: how many were added, updated or deleted; 0 where nothing had to be done, and nothing was committed.
        left_out: warnings of documents that were left out or unchanged.
        build: of the new snapshot; None without one.
    """

    documents: int
    left_out: list[str]
    build: BuildResult | None

    @property
    def warnings(self) -> list[str]:
        """Those of the documents, and those of the build."""
        return [*self.left_out, *(self.build.warnings if self.build is not None else ())]


def change(path: str | Root, what: Change, work: Work) -> Changed:
    """Change a memory, in one snapshot. The source is read only where what was read of it cannot be taken over.

    Args:
        path: the memory's folder.
        what: is changed.
        work: how it is computed.

    Raises:
        MemoryNotFoundError: there is no memory.
        UserError: what is to be changed is wrong; nothing is changed.
        WriterBusyError: another build or change writes to this memory.
    """
    with changing(path, work) as base:
        store, manifest = base.store, base.manifest
        _remove_unfinished(store)
        warnings: list[str] = []
        layer = what.layer(base, warnings)
        if not layer.count:
            return Changed(0, warnings, None)
        log = ChangeLog.of(manifest)
        log = log.extended(write_layer(store, log.layer + 1, layer.rows))
        tombstones = list(manifest.tombstones)
        masks = can_mask(manifest, base.recipe, len(layer.removed)) and not layer.revives(base)
        if masks and layer.removed:
            tombstones = write_tombstones(store, manifest, layer.removed, log)
        if masks and not layer.added:
            return Changed(layer.count, warnings, _commit(base, log, tombstones))
        return Changed(layer.count, warnings, base.build(Revision(log, tombstones=tuple(tombstones if masks else ()))))


def _commit(base: Base, log: ChangeLog, tombstones: Sequence[Artifact]) -> BuildResult:
    """Commit a snapshot with the same files, of which readers leave out what tombstones name."""
    started = time.perf_counter()
    changed = base.manifest.model_copy(update={"caches": base.manifest.caches | log.entry})
    masked = with_tombstones(base.store, changed, tombstones, base.work.encoders)
    snapshot = base.store.commit(masked, former=base.manifest).name
    return BuildResult(base.store.root, snapshot, True, [], time.perf_counter() - started)


def _remove_unfinished(store: Store) -> None:
    """Remove what a change that was killed published without its marker: no other change writes the same."""
    for folder in (CHANGES.path, CORRECTIONS.path, TOMBSTONES.path):
        names = store.files.names(folder)
        markers = {name for name in names if name.endswith(".json")}
        for name in names:
            # A file or folder has the name of its marker, and a hash of its content.
            if name not in markers and f"{name.rpartition('-')[0]}.json" not in markers:
                store.files.delete(f"{folder}/{name}")
