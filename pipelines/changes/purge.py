"""Purge: after it no file of a memory holds some documents, and no later build brings them in again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.pipelines.changes.base import Work, changing
from mnemodex.pipelines.changes.change import Changed, Delete
from mnemodex.pipelines.changes.collect import Kept, collect_store, lock_snapshot
from mnemodex.pipelines.changes.lookup import check_keys, find_documents
from mnemodex.pipelines.documents.changes import ChangeLog
from mnemodex.pipelines.documents.kept import kept_documents
from mnemodex.pipelines.documents.purges import hash_key, read_hashes, read_partitions, rewrite, write_purge
from mnemodex.pipelines.run import Revision
from mnemodex.schemas.errors import MnemodexError, PinnedSnapshotError
from mnemodex.schemas.store.attempts import ATTEMPTS
from mnemodex.schemas.store.columns import to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.changes.base import Base
    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store


_UNKNOWN = (
    "the readers of a memory in an object store are not known: programs that have it open, and the caches of their "
    "machines, may still hold the documents; end them and remove the caches"
)


def purge(path: str | Root, what: Delete, work: Work) -> Changed:
    """Delete documents so that no file of the memory holds them.

    All older snapshots are collected. So are answers of language models that were kept, of which none says which
    document it is about, and what builds left below `work/`. Documents that were deleted before may be named too.

    Args:
        path: the memory's folder.
        what: names the documents.
        work: how it is computed.

    Returns:
        How many documents were purged that were not before.

    Raises:
        QueryError: there was never a document with one of the keys, or nothing would be left.
        PinnedSnapshotError: a reader has an older snapshot open. Nothing was changed; or, where it was opened
            meanwhile, the documents are still in that snapshot, as the message says.
        WriterBusyError: another build or change writes to the memory.
    """
    with changing(path, work) as base:
        _refuse_pinned(base.store)
        log = ChangeLog.of(base.manifest)
        keys = _keys(base, what, log)
        build = _rewrite(base, log, keys) if keys else None
        if keys or what.keys:
            _collect(base.store)
        warnings = [] if base.store.files.knows_readers else [f"{base.store.root}: {_UNKNOWN}"]
        return Changed(len(keys), warnings, build)


def _rewrite(base: Base, log: ChangeLog, keys: Sequence[str]) -> BuildResult:
    """Commit a snapshot in which nothing names the documents."""
    wanted = to_column(list(keys), pa.string())
    rewritten = rewrite(base.store, base.manifest, wanted)
    log = log.without(base.store, wanted)
    log = replace(log, purges=(*log.purges, write_purge(base.store, keys, rewritten)))
    return base.build(Revision(log, rewritten))


def _keys(base: Base, what: Delete, log: ChangeLog) -> list[str]:
    """Return the keys of documents that are to be purged, and are in some file."""
    store, manifest = base.store, base.manifest
    if kept_documents(store, base.recipe, manifest) is None:
        raise MnemodexError(
            f"{store.root}: what was read of the source is damaged, or of a former version; run `mnemodex build "
            "RECIPE` first"
        )
    if what.where is not None:
        return list(what.chosen(base))
    wanted = to_column(what.named(), pa.string())
    held = pa.concat_arrays([log.keys(store), *(keys for _, keys in read_partitions(store, manifest))])
    found = {*held.filter(pc.is_in(held, value_set=wanted)).to_pylist()}
    purged = read_hashes(store, [part.place for part in log.purges])
    check_keys(store, manifest, what.named(), {*found, *(key for key in what.named() if hash_key(key) in purged)})
    what.check_rest(base, find_documents(store, manifest, what.named()))
    return [key for key in what.named() if key in found]


def _refuse_pinned(store: Store) -> None:
    """Refuse to begin while a reader has a snapshot open, which would go on holding the documents."""
    for name in store.kept():
        unlock = lock_snapshot(store, name)
        if unlock is None:
            raise PinnedSnapshotError(
                f"{store.root}: snapshot {name} is open in a program or server, which would go on reading what is to "
                "be purged; close it and purge again. Nothing was changed"
            )
        unlock()


def _collect(store: Store) -> None:
    """Remove all snapshots but the newest, and what no snapshot names but may hold a document."""
    pinned = collect_store(store, Kept(newest=1)).pinned
    store.files.delete("answers")
    for name in store.files.names("work"):
        if not name.startswith(ATTEMPTS):
            store.files.delete(f"work/{name}")
    if pinned:
        raise PinnedSnapshotError(
            f"{store.root}: the newest snapshot is without the documents, but {', '.join(pinned)} was opened meanwhile "
            "and still holds them; close it and purge again"
        )
