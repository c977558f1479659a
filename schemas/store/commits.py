"""Committing a snapshot of a memory."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import (
    CommitFailedError,
    CommitStateUnknownError,
    MemoryNotFoundError,
    ObjectStoreError,
    reason,
)
from mnemodex.schemas.manifest import FORMAT, digest
from mnemodex.schemas.store.current import write_line
from mnemodex.schemas.store.snapshots import Snapshots, manifest_file, name_after

if TYPE_CHECKING:
    from mnemodex.schemas.manifest import Manifest


class Commits(Snapshots):
    """The snapshots of one memory, and the way to another one."""

    def upgrade(self) -> Manifest:
        """Bring the current snapshot to this version's format, with the same files; older ones stay as they are.

        Raises:
            MemoryNotFoundError: nothing was committed.
            OlderFormatError: its format is too old for that.
            WriterBusyError: a build writes to the memory.
        """
        if self._newest() is None:
            raise MemoryNotFoundError(f"{self.root}: is not a memory; build one with `mnemodex build RECIPE`")
        with self.files.lease():
            newest = self._newest()
            assert newest is not None  # noqa: S101 - the newest one is never removed
            manifest = self._parse(*newest)
            if manifest.format == FORMAT:
                return manifest
            return self.commit(manifest.model_copy(update={"format": FORMAT}), former=manifest)

    def listed(self, manifest: Manifest, former: Manifest | None) -> Manifest:
        """Return a manifest whose artifacts are in list files, which are those of the former snapshot as far as it can.

        Raises:
            CommitFailedError: the disk refused.
        """
        try:
            return self._lists.write(manifest, former)
        except OSError as error:
            raise CommitFailedError(
                f"{self.root}: the lists of the new snapshot could not be written ({reason(error)}); the former "
                "snapshot is current; correct that and build again"
            ) from error

    def commit(self, manifest: Manifest, *, former: Manifest | None) -> Manifest:
        """Make a manifest the current snapshot; `name`, `parent` and `created` are filled in.

        Args:
            manifest: what a build made.
            former: the snapshot that was current when the build began.

        Raises:
            CommitFailedError: it is not committed: the disk refused, or another writer committed after `former`.
            CommitStateUnknownError: the disk did not say.
        """
        listed = self.listed(manifest, former)
        parent = self.files.read(manifest_file(former.name)) if former else None
        manifest = listed.model_copy(
            update={
                "name": name_after(former.name if former else "0"),
                "parent": former.name if former else None,
                "parent_sha256": digest(parent) if parent else None,
                "created": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
            }
        )
        self._create(manifest_file(manifest.name), manifest)
        return manifest

    def _create(self, path: str, manifest: Manifest) -> None:
        data = manifest.to_bytes()
        try:
            # Both written before, so that nothing needs room on the disk any more.
            with self.files.draft(data) as draft, self.files.draft(write_line(manifest.name, data)) as current:
                created = self.files.put_if_absent(path, draft)
                # Only a hint: a reader that does not find the newest snapshot by it looks for it.
                if created:
                    with contextlib.suppress(OSError):
                        self.files.put("CURRENT", current)
        except OSError as error:
            if self._may_be_there(path):
                raise CommitStateUnknownError(
                    f"{self.root / path} may be there, but the disk did not confirm it ({reason(error)}); check "
                    "`mnemodex show` first"
                ) from error
            raise CommitFailedError(
                f"{self.root / path} could not be written ({reason(error)}); the former snapshot is current; "
                "correct that and build again"
            ) from error
        if not created:
            msg = f"{self.root / path} already exists: another writer committed first; run the build again"
            raise CommitFailedError(msg)

    def _may_be_there(self, path: str) -> bool:
        """Return whether a file is there; True too where the store does not answer."""
        try:
            return self.files.exists(path)
        except ObjectStoreError:
            return True
