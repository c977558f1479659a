"""A memory that its program may change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from mnemodex.pipelines.changes.change import Change, Delete
    from mnemodex.pipelines.changes.collect import Collection
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.snapshot import Snapshot


_log = logging.getLogger("mnemodex")


class ChangeableMemory(Memory):
    """A memory with `add`, `update` and `delete`, each of which commits one snapshot.

    After a change the memory shows the new snapshot. Retrievers that were taken from it before go on showing the
    former one.
    """

    @override
    def _begin(self, snapshot: Snapshot, objects: Mapping[str, Any]) -> None:
        super()._begin(snapshot, objects)
        # What retrievers see, which does not change with this memory.
        self._view = Memory.of(snapshot, objects=objects)
        self._view._encoders = self._encoders

    @override
    def retriever(self, name: str) -> Retriever:
        return self._view.retriever(name)

    @override
    def release(self) -> None:
        self._view.release()
        super().release()

    def add(self, rows: str | Path | Iterable[Mapping[str, Any]]) -> int:
        """Add documents: mappings with the fields of the recipe's source, or a file or folder of them.

        Args:
            rows: the documents. One that the memory has with the same content is left out.

        Returns:
            The number of documents that were added.

        Raises:
            SourceError: a row is no document, or there is none.
            DuplicateKeyError: the memory has a document with one of the keys and other content.
            QueryError: another snapshot than the current one is opened.
            WriterBusyError: another build or change writes to the memory.
        """
        from mnemodex.pipelines.changes.change import Add

        return self._change(Add(rows))

    def update(self, rows: str | Path | Iterable[Mapping[str, Any]]) -> int:
        """Give documents that the memory has another content; see `add`.

        Returns:
            The number of documents whose content is another one now.

        Raises:
            QueryError: the memory has no document with one of the keys.
        """
        from mnemodex.pipelines.changes.change import Add

        return self._change(Add(rows, update=True))

    def delete(self, keys: Sequence[str] | None = None, where: str | None = None, *, purge: bool = False) -> int:
        """Delete the documents of some keys, or those that a boolean SQL expression over `documents d` keeps.

        No later build over the same source brings them back, unless it is told to forget deletions.

        With `purge` no file of the memory holds them afterwards: all older snapshots, and answers of language models
        that were kept, are removed too, and not even a build that forgets deletions brings the documents back. Ones
        that were deleted before may be named. What was taken from this memory before is of no use any more.

        Returns:
            The number of documents that were deleted.

        Raises:
            QueryError: both or none of the arguments are given; there is no document with one of the keys; `where` is
                no such expression; or nothing would be left.
            PinnedSnapshotError: another program, or another memory of this one, has a snapshot open that is to be
                purged.
        """
        from mnemodex.pipelines.changes.change import Delete

        if not purge:
            return self._change(Delete(keys, where))
        self._check_current()
        self.close()
        try:
            return self._purge(Delete(keys, where))
        finally:
            if not self._renew():
                self.snapshot.pin()

    def _purge(self, what: Delete) -> int:
        from mnemodex.pipelines.changes.base import Work
        from mnemodex.pipelines.changes.purge import purge

        purged = purge(self.snapshot.store.root, what, Work(encoders=self._passed))
        _tell(purged.warnings)
        return purged.documents

    def compact(self) -> bool:
        """Write what many changes have left in as few shards as a new build has; answers stay as they are.

        Returns:
            Whether there was anything to do, and a snapshot was committed.

        Raises:
            QueryError: another snapshot than the current one is opened.
            WriterBusyError: another build or change writes to the memory.
        """
        from mnemodex.pipelines.changes.base import Work
        from mnemodex.pipelines.changes.compact import compact

        self._check_current()
        result = compact(self.snapshot.store.root, Work(encoders=self._passed))
        _tell(result.warnings)
        self._renew()
        return result.committed

    def gc(
        self, *, keep: int | None = None, older_than: str | timedelta | None = None, dry_run: bool = False
    ) -> Collection:
        """Remove snapshots that are not kept, and all files that no other one names.

        The newest snapshot is always kept, and so is one that a reader has open. Without `keep` and `older_than` all
        are kept, and only files are removed that no snapshot names.

        Args:
            keep: the newest so many snapshots are kept.
            older_than: younger snapshots are kept: a time, or `7d`, `12h`, `30m`.
            dry_run: only say what would be removed.

        Returns:
            What was removed, and the snapshots that readers pin.

        Raises:
            QueryError: `keep` is less than 1, or `older_than` no age.
            CorruptFileError: a snapshot is damaged; nothing is removed.
            WriterBusyError: a build or change writes to the memory.
        """
        from mnemodex.pipelines.changes.collect import Kept, collect

        return collect(self.snapshot.store.root, Kept.of(keep, older_than), dry_run=dry_run)

    def _change(self, what: Change) -> int:
        from mnemodex.pipelines.changes.base import Work
        from mnemodex.pipelines.changes.change import change

        self._check_current()
        changed = change(self.snapshot.store.root, what, Work(encoders=self._passed))
        _tell(changed.warnings)
        self._renew()
        return changed.documents

    @property
    def _passed(self) -> dict[str, Any]:
        """The objects that were passed to `build`, by the names of their embeddings."""
        return {name.removeprefix("embed/"): encoder for name, encoder in self._objects.items()}

    def _check_current(self) -> None:
        current = self.snapshot.store.current()
        if current is not None and current.name != self.snapshot.name:
            # What was looked at before it was changed may be another document by now.
            raise QueryError(
                f"{self.snapshot.store.root}: snapshot {self.snapshot.name} is opened, and {current.name} is the "
                "current one; open the memory again to change it"
            )

    def _renew(self) -> bool:
        """Show the newest snapshot; return whether that is another one."""
        newer = self.newer()
        if newer is not None:
            self.release()
            self._begin(newer.snapshot, self._objects)
            self._encoders.update(newer._encoders)
        return newer is not None


def _tell(warnings: Sequence[str]) -> None:
    for warning in warnings:
        _log.warning("%s", warning)
