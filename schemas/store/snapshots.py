"""The snapshots of a memory: finding the newest one, its ancestors, and committing another."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnemodex.schemas.errors import (
    START_OVER,
    CommitFailedError,
    CommitStateUnknownError,
    CorruptFileError,
    MemoryNotFoundError,
    MnemodexError,
    NewerFormatError,
    OlderFormatError,
    SnapshotNotFoundError,
    reason,
)
from mnemodex.schemas.manifest import FORMAT, UPGRADABLE, Manifest, digest, own_digest
from mnemodex.schemas.store.current import read_line, write_line
from mnemodex.schemas.store.lists import Lists
from mnemodex.schemas.store.local_files import LocalFiles
from mnemodex.schemas.validation import is_deeper, say_first

if TYPE_CHECKING:
    from collections.abc import Iterator

_SNAPSHOT = re.compile(r"\d{6}\.json")
_LISTED = 20
"""Snapshots that a message lists."""
_LEVELS = 64
"""Levels of a manifest's JSON: what prints a recipe, or compares it, walks down all of them."""
_FORMAT_2 = b'{\n "format": 2,\n'
"""How manifests begin that have no checksum inside."""


class Snapshots:
    """The snapshots of one memory.

    A snapshot is committed by creating `snapshots/NUMBER.json`, which only one writer can: the one after the snapshot
    that it began with. `CURRENT` names one that was the newest; it makes finding the newest quick, and nothing is lost
    with it.
    """

    def __init__(self, root: str | Path, *, files: LocalFiles | None = None) -> None:
        self.root = Path(root)
        self.files = files or LocalFiles(self.root)
        self._lists = Lists(self.files)

    def current(self) -> Manifest | None:
        """Return the newest snapshot's manifest, checked; None where nothing was committed.

        Raises:
            CorruptFileError: it is damaged.
            NewerFormatError: a newer version of Mnemodex wrote it.
            OlderFormatError: a former version wrote it; the message says what to do.
        """
        newest = self._newest()
        if newest is None:
            return None
        manifest = self._parse(*newest)
        if manifest.format != FORMAT:
            raise OlderFormatError(
                f"{self.root}: has format {manifest.format} of a former version, this version reads format {FORMAT}; "
                f"run `mnemodex upgrade {self.root}`, which leaves its data as they are"
            )
        return manifest

    def sound(self) -> Manifest | None:
        """Return the newest manifest of this format whose own checksum is right, for who goes on and says so."""
        for name in sorted(self._snapshots(), reverse=True):
            with contextlib.suppress(MnemodexError):
                manifest = self.named(name)
                if manifest.format == FORMAT:
                    return manifest
        return None

    def named(self, name: str) -> Manifest:
        """Return the manifest of a snapshot, whatever became of newer ones.

        Raises:
            CorruptFileError: it is missing, or differs from the checksum inside it.
        """
        data = self._read(name, named_in="snapshots")
        if own_digest(data) is None:
            raise CorruptFileError(f"{self.root / _file(name)}: differs from its checksum; restore it from a copy")
        return self._parse(name, data)

    def at(self, name: str | int) -> Manifest:
        """Return the manifest of a snapshot by its number, checked.

        Raises:
            SnapshotNotFoundError: there is none of that number; the message lists those there are.
            CorruptFileError: it is damaged.
        """
        names = self._snapshots()
        wanted = f"{int(name):06d}" if str(name).isdecimal() else str(name)
        if wanted not in names:
            listed = f"{min(names)} to {max(names)}" if len(names) > _LISTED else ", ".join(names) or "none"
            raise SnapshotNotFoundError(f"{self.root}: has no snapshot {str(name)[:20]!r}; there are: {listed}")
        current = self.current() if own_digest(self._read(wanted, named_in="snapshots")) is None else None
        # A file of format 2 is vouched for by the snapshot after it.
        older = self.history(current) if current is not None else ()
        return next((manifest for manifest in older if manifest.name == wanted), None) or self.named(wanted)

    def mark(self) -> str:
        """Return a text that is another one after a snapshot was committed."""
        return f"{self._named()} {max(self._snapshots(), default='')}"

    def found(self) -> Manifest | None:
        """Return the current snapshot for a build, which finds again what a damaged list file named."""
        manifest = self.current()
        return self._lists.sound(manifest) if manifest is not None else None

    def clean(self) -> None:
        """Remove what writers that are dead left unfinished, and write `CURRENT` again where it is not right.

        Call with the lock held.
        """
        self.files.remove_abandoned()
        newest = self._newest()
        line = write_line(*newest) if newest is not None else b""
        if line and self._named() != read_line(line):
            self.files.put("CURRENT", line)

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
            assert newest is not None  # noqa: S101 - snapshots are never removed
            manifest = self._parse(*newest)
            if manifest.format == FORMAT:
                return manifest
            return self.commit(manifest.model_copy(update={"format": FORMAT}), former=manifest)

    def is_named(self) -> bool:
        """Return whether `CURRENT` names a snapshot by its checksum, be it one that is no longer the newest."""
        named = self._named()
        if named is None or not self.files.exists(_file(named[0])):
            return False
        return digest(self.files.read(_file(named[0]))) == named[1]

    def _snapshots(self) -> list[str]:
        names = self.files.names("snapshots")
        return [name.removesuffix(".json") for name in names if _SNAPSHOT.fullmatch(name)]

    def _newest(self) -> tuple[str, bytes] | None:
        """Return the newest snapshot's name and file: that in `CURRENT`, unless there is a later one."""
        name, sha256 = self._named() or (None, None)
        if name is None or self.files.exists(_file(_after(name))):
            name = max(self._snapshots(), default=name)
            sha256 = None
        if name is None:
            return None
        data = self._read(name, named_in="CURRENT")
        if own_digest(data) is None and digest(data) != sha256:
            raise CorruptFileError(f"{self.root / _file(name)}: {self._mistrust(name, data)}")
        return name, data

    def _mistrust(self, name: str, data: bytes) -> str:
        """Return why the newest snapshot, whose checksum is not confirmed, is refused, and what to do."""
        if not data.startswith(_FORMAT_2):
            return (
                "is the newest snapshot, and differs from its checksum; restore it from a copy, or remove it and "
                "CURRENT to go on with the snapshot before it"
            )
        if self.is_named():
            return "was left by a build of a former version that was killed; remove it"
        return (
            "is a snapshot of format 2 whose checksum is not that in CURRENT; restore both from a copy, or, if you "
            f"trust it, write the line `{name} {digest(data)}` to CURRENT"
        )

    def _named(self) -> tuple[str, str] | None:
        """Return what `CURRENT` says; None where it is missing or damaged."""
        try:
            return read_line(self.files.read("CURRENT", most=100))
        except OSError:
            return None

    def _read(self, name: str, *, named_in: str) -> bytes:
        path = self.root / _file(name)
        try:
            return self.files.read(_file(name))
        except OSError as error:
            what = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise CorruptFileError(f"{path}, named in {self.root / named_in}: {what}; {START_OVER}") from error

    def _parse(self, name: str, data: bytes) -> Manifest:
        path = self.root / _file(name)
        try:
            content = json.loads(data)
            if is_deeper(content, _LEVELS):
                raise CorruptFileError(f"{path}: is nested more than {_LEVELS} levels deep; {START_OVER}")
            version = content.get("format") if isinstance(content, dict) else None
            if isinstance(version, int) and version > FORMAT:
                msg = f"{path}: has format {version}, this version reads format {FORMAT}; install a newer mnemodex"
                raise NewerFormatError(msg)
            if isinstance(version, int) and version < UPGRADABLE:
                raise OlderFormatError(
                    f"{path}: has format {version} of a former version, this version reads format {FORMAT}; rebuild "
                    "the memory: run `mnemodex build RECIPE` with another folder for `memory`, or remove this one"
                )
            if isinstance(content, dict):
                content.pop("sha256", None)
            manifest = Manifest.model_validate(content, context=self._lists.read)
        except ValidationError as error:
            raise CorruptFileError(f"{path}: is not a manifest ({say_first(error)}); {START_OVER}") from error
        except (ValueError, RecursionError) as error:
            raise CorruptFileError(f"{path}: is not JSON ({error}); {START_OVER}") from error
        if manifest.name != name:
            raise CorruptFileError(f"{path}: is the manifest of snapshot {manifest.name!r}; {START_OVER}")
        return manifest

    def history(self, manifest: Manifest) -> Iterator[Manifest]:
        """Yield a snapshot and its ancestors, newest first.

        Raises:
            CorruptFileError: an ancestor's manifest is missing or damaged.
        """
        while True:
            yield manifest
            if manifest.parent is None or manifest.parent_sha256 is None:
                return
            parent, named_in = manifest.parent, _file(manifest.name)
            data = self._read(parent, named_in=named_in)
            if digest(data) != manifest.parent_sha256:
                raise CorruptFileError(
                    f"{self.root / _file(parent)}: differs from its checksum in {self.root / named_in}; {START_OVER}"
                )
            manifest = self._parse(parent, data)

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
        parent = self.files.read(_file(former.name)) if former else None
        manifest = listed.model_copy(
            update={
                "name": _after(former.name if former else "0"),
                "parent": former.name if former else None,
                "parent_sha256": digest(parent) if parent else None,
                "created": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
            }
        )
        self._create(_file(manifest.name), manifest)
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
            if self.files.exists(path):
                raise CommitStateUnknownError(
                    f"{self.root / path} is there, but the disk did not confirm it ({reason(error)}); check "
                    "`mnemodex show` first"
                ) from error
            raise CommitFailedError(
                f"{self.root / path} could not be written ({reason(error)}); the former snapshot is current; "
                "correct that and build again"
            ) from error
        if not created:
            msg = f"{self.root / path} already exists: another writer committed first; run the build again"
            raise CommitFailedError(msg)


def _file(name: str) -> str:
    """Return where a snapshot's manifest is."""
    return f"snapshots/{name}.json"


def _after(name: str) -> str:
    """Return the name of the snapshot after one."""
    return f"{int(name) + 1:06d}"
