"""The snapshots of a memory: finding the newest one and its ancestors."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mnemodex.schemas.errors import (
    START_OVER,
    CorruptFileError,
    MnemodexError,
    NewerFormatError,
    ObjectStoreError,
    OlderFormatError,
    SnapshotNotFoundError,
)
from mnemodex.schemas.manifest import FORMAT, UPGRADABLE, Manifest, digest, own_digest
from mnemodex.schemas.store.collected import COLLECTED, Collected
from mnemodex.schemas.store.current import read_line, write_line
from mnemodex.schemas.store.lists import Lists
from mnemodex.schemas.store.object_url import parse_root
from mnemodex.schemas.store.open_files import open_files
from mnemodex.schemas.validation import is_deeper, say_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.schemas.store.files import Files
    from mnemodex.schemas.store.object_url import Root

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

    def __init__(self, root: str | Root, *, files: Files | None = None) -> None:
        self.root = parse_root(root)
        self.files = files or open_files(self.root)
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
        for name in sorted(self.kept(), reverse=True):
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
            raise CorruptFileError(
                f"{self.root / manifest_file(name)}: differs from its checksum; restore it from a copy"
            )
        return self._parse(name, data)

    def at(self, name: str | int) -> Manifest:
        """Return the manifest of a snapshot by its number, checked.

        Raises:
            SnapshotNotFoundError: there is none of that number; the message lists those there are.
            CorruptFileError: it is damaged.
        """
        names = self.kept()
        wanted = f"{int(name):06d}" if str(name).isdecimal() else str(name)
        if wanted not in names:
            listed = f"{min(names)} to {max(names)}" if len(names) > _LISTED else ", ".join(names) or "none"
            lacks = "has no snapshot" if wanted not in self.collected() else "`mnemodex gc` removed the snapshot"
            raise SnapshotNotFoundError(f"{self.root}: {lacks} {str(name)[:20]!r}; there are: {listed}")
        current = self.current() if own_digest(self._read(wanted, named_in="snapshots")) is None else None
        # A file of format 2 is vouched for by the snapshot after it.
        older = self.history(current) if current is not None else ()
        return next((manifest for manifest in older if manifest.name == wanted), None) or self.named(wanted)

    def collected(self) -> Collected:
        """Return which snapshots were collected."""
        return Collected.read(self.files)

    def pin(self, name: str) -> Callable[[], None]:
        """Keep a snapshot from being collected until what is returned is called.

        Raises:
            SnapshotNotFoundError: it was collected since it was found.
            OSError: the file system has no locks.
        """
        gone = f"{self.root}: snapshot {name} was removed by `mnemodex gc`; open the memory again"
        try:
            unpin = self.files.pin(manifest_file(name))
        except FileNotFoundError as error:
            raise SnapshotNotFoundError(gone) from error
        # A collection that was stopped may have left the file. The newest snapshot is never collected.
        if self.files.knows_readers and name != max(self._snapshots()) and name in self.collected():
            unpin()
            raise SnapshotNotFoundError(gone)
        return unpin

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

    def clean_after(self) -> None:
        """Clean at the end of what wrote, where the store answers: whether it did must not hide what happened."""
        with contextlib.suppress(ObjectStoreError):
            self.clean()

    def is_named(self) -> bool:
        """Return whether `CURRENT` names a snapshot by its checksum, be it one that is no longer the newest."""
        named = self._named()
        if named is None or not self.files.exists(manifest_file(named[0])):
            return False
        return digest(self.files.read(manifest_file(named[0]))) == named[1]

    def _snapshots(self) -> list[str]:
        names = self.files.names("snapshots")
        return [name.removesuffix(".json") for name in names if _SNAPSHOT.fullmatch(name)]

    def removed(self) -> list[str]:
        """Return the names of collected snapshots whose manifests a collection that was stopped has left."""
        collected = self.collected()
        return [name for name in self._snapshots() if name in collected]

    def kept(self) -> list[str]:
        """Return the names of the snapshots that were not collected."""
        collected = self.collected()
        return [name for name in self._snapshots() if name not in collected]

    def _newest(self) -> tuple[str, bytes] | None:
        """Return the newest snapshot's name and file: that in `CURRENT`, unless there is a later one."""
        name, sha256 = self._named() or (None, None)
        if name is None or self.files.exists(manifest_file(name_after(name))):
            name = max(self._snapshots(), default=name)
            sha256 = None
        if name is None:
            return None
        data = self._read(name, named_in="CURRENT")
        if own_digest(data) is None and digest(data) != sha256:
            raise CorruptFileError(f"{self.root / manifest_file(name)}: {self._mistrust(name, data)}")
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
        except ObjectStoreError:
            raise
        except OSError:
            return None

    def _read(self, name: str, *, named_in: str) -> bytes:
        path = self.root / manifest_file(name)
        try:
            return self.files.read(manifest_file(name))
        except ObjectStoreError:
            raise
        except OSError as error:
            what = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise CorruptFileError(f"{path}, named in {self.root / named_in}: {what}; {START_OVER}") from error

    def _parse(self, name: str, data: bytes) -> Manifest:
        path = self.root / manifest_file(name)
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
        """Yield a snapshot and its ancestors, newest first, but for those that were collected.

        Raises:
            CorruptFileError: an ancestor's manifest is missing or damaged.
        """
        collected = self.collected()
        while True:
            yield manifest
            gap = collected.gap(manifest.parent)
            before = manifest if gap is None else gap
            if before.parent is None or before.parent_sha256 is None:
                return
            parent, named_in = before.parent, manifest_file(manifest.name) if gap is None else COLLECTED
            data = self._read(parent, named_in=named_in)
            if digest(data) != before.parent_sha256:
                path = self.root / manifest_file(parent)
                raise CorruptFileError(f"{path}: differs from its checksum in {self.root / named_in}; {START_OVER}")
            manifest = self._parse(parent, data)


def manifest_file(name: str) -> str:
    """Return where a snapshot's manifest is."""
    return f"snapshots/{name}.json"


def name_after(name: str) -> str:
    """Return the name of the snapshot after one."""
    return f"{int(name) + 1:06d}"
