"""A memory's folder: finding, publishing and committing write-once results."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mnemodex.schemas.errors import (
    CommitFailedError,
    CorruptFileError,
    MemoryNotFoundError,
    NewerFormatError,
    OlderFormatError,
)
from mnemodex.schemas.manifest import FORMAT, UPGRADABLE, Artifact, FileEntry, Manifest, Stats, digest
from mnemodex.schemas.store.files import LocalFiles
from mnemodex.schemas.store.lists import Lists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_CURRENT = re.compile(rb"(\d{6}) ([0-9a-f]{64})\n")
_SNAPSHOT = re.compile(r"\d{6}\.json")
_KNOWN = {"CURRENT", "snapshots", "tables", "indexes", "answers", "work"}


class Store:
    """The folder of one memory.

    Everything is write-once: a result is published under its fingerprint and never changed, a snapshot names the
    results that belong together, and `CURRENT` names the snapshot. Readers resolve once and keep what they resolved.
    """

    def __init__(self, root: str | Path, *, files: LocalFiles | None = None) -> None:
        self.root = Path(root)
        self.files = files or LocalFiles(self.root)
        self._lists = Lists(self.files)

    def prepare(self) -> None:
        """Make the folder ready for writing.

        Raises:
            MemoryNotFoundError: it holds something else, or cannot be made.
        """
        if self.root.exists() and not self.root.is_dir():
            raise MemoryNotFoundError(f"{self.root}: is a file, not a memory; choose another folder for `memory`")
        try:
            self.files.make()
        except OSError as error:
            raise MemoryNotFoundError(
                f"{self.root}: cannot be made ({error.strerror}: {error.filename}); choose another folder for `memory`"
            ) from error
        strange = [name for name in self.files.names(".") if name not in _KNOWN]
        if strange and not self.files.exists("CURRENT"):
            msg = f"{self.root}: is not a memory (it holds {strange[0]!r}); choose an empty or new folder for `memory`"
            raise MemoryNotFoundError(msg)

    def lock(self) -> AbstractContextManager[None]:
        """Return the writer lock of the memory."""
        return self.files.lock()

    def clean(self) -> None:
        """Remove what unfinished builds left: attempts, and manifests that never became current.

        Call with the lock held.
        """
        for name in self.files.names("work"):
            if name.startswith(("attempt-", "run-")):
                self.files.remove(f"work/{name}")
        pointer = self._pointer()
        for name in self._snapshots():
            if pointer is None or name > f"{pointer[0]}.json":
                self.files.remove(f"snapshots/{name}")

    def current(self) -> Manifest | None:
        """Return the current snapshot's manifest, checked; None where nothing was committed.

        Raises:
            CorruptFileError: `CURRENT` or the manifest is damaged.
            NewerFormatError: a newer version of Mnemodex wrote it.
        """
        pointer = self._pointer()
        if pointer is None:
            return None
        manifest = self._manifest(*pointer, named_in="CURRENT")
        if manifest.format != FORMAT:
            raise OlderFormatError(
                f"{self.root}: has format {manifest.format} of a former version, this version reads format {FORMAT}; "
                f"run `mnemodex upgrade {self.root}`, which leaves its data as they are"
            )
        return manifest

    def found(self) -> Manifest | None:
        """Return the current snapshot for a build, which finds again what a damaged list file named."""
        manifest = self.current()
        return self._lists.sound(manifest) if manifest is not None else None

    def upgrade(self) -> Manifest:
        """Bring the current snapshot to this version's format, with the same files; older ones stay as they are.

        Call with the lock held.

        Raises:
            MemoryNotFoundError: nothing was committed.
            OlderFormatError: its format is too old for that.
        """
        pointer = self._pointer()
        if pointer is None:
            raise MemoryNotFoundError(f"{self.root}: is not a memory; there is nothing to upgrade")
        manifest = self._manifest(*pointer, named_in="CURRENT")
        if manifest.format == FORMAT:
            return manifest
        return self.commit(manifest.model_copy(update={"format": FORMAT}), former=manifest)

    def _snapshots(self) -> list[str]:
        return [name for name in self.files.names("snapshots") if _SNAPSHOT.fullmatch(name)]

    def _pointer(self) -> tuple[str, str] | None:
        """Return the name and SHA-256 in `CURRENT`."""
        try:
            data = self.files.read("CURRENT")
        except FileNotFoundError:
            # The first commit may have stopped before it; a second snapshot is not made without it.
            if max(self._snapshots(), default="") <= "000001.json":
                return None
            raise self._no_pointer("is missing") from None
        except OSError as error:
            raise self._no_pointer(f"cannot be read ({error.strerror})") from error
        match = _CURRENT.fullmatch(data)
        if match is None:
            raise self._no_pointer("is damaged")
        return match[1].decode(), match[2].decode()

    def _no_pointer(self, what: str) -> CorruptFileError:
        newest = self.root / "snapshots" / max(self._snapshots(), default="NAME.json")
        return CorruptFileError(
            f"{self.root / 'CURRENT'}: {what}; write one line into it: the newest snapshot's name ({newest.stem}), a "
            f"space, and its SHA-256 (in the first line of {newest})"
        )

    def _manifest(self, name: str, sha256: str, *, named_in: str) -> Manifest:
        """Read one snapshot's manifest and compare it with its SHA-256, which another file of the memory has."""
        path = self.root / "snapshots" / f"{name}.json"
        try:
            data = self.files.read(f"snapshots/{name}.json")
        except OSError as error:
            what = "missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            msg = f"{path}, named in {self.root / named_in}: {what}; restore it from a copy, or rebuild the memory"
            raise CorruptFileError(msg) from error
        if digest(data) != sha256:
            raise CorruptFileError(
                f"{path}: differs from its checksum in {self.root / named_in}; restore it from a copy, or rebuild the "
                "memory"
            )
        return self._parse(path, data)

    def _parse(self, path: Path, data: bytes) -> Manifest:
        try:
            content = json.loads(data)
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
            return Manifest.model_validate(content, context=self._lists.read)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            msg = f"{path}: is not a manifest ({where}: {problem['msg']}); rebuild the memory"
            raise CorruptFileError(msg) from error
        except ValueError as error:
            raise CorruptFileError(f"{path}: is not JSON ({error}); rebuild the memory") from error

    def history(self, manifest: Manifest) -> Iterator[Manifest]:
        """Yield a snapshot and its ancestors, newest first.

        Raises:
            CorruptFileError: an ancestor's manifest is missing or damaged.
        """
        while True:
            yield manifest
            if manifest.parent is None or manifest.parent_sha256 is None:
                return
            named_in = f"snapshots/{manifest.name}.json"
            manifest = self._manifest(manifest.parent, manifest.parent_sha256, named_in=named_in)

    def commit(self, manifest: Manifest, *, former: Manifest | None) -> Manifest:
        """Make a manifest the current snapshot; `name`, `parent` and `created` are filled in. Call with the lock held.

        Args:
            manifest: what a build made.
            former: the snapshot that was current when the build began.

        Raises:
            CommitFailedError: the former snapshot is still current.
            CommitStateUnknownError: the disk did not say.
        """
        try:
            listed = self._lists.write(manifest, former)
            parent = self.files.read(f"snapshots/{former.name}.json") if former else None
        except OSError as error:
            raise CommitFailedError(
                f"{self.root}: the lists of the new snapshot could not be written ({error}); the former snapshot is "
                "current; correct that and build again"
            ) from error
        manifest = listed.model_copy(
            update={
                "name": f"{int(former.name) + 1 if former else 1:06d}",
                "parent": former.name if former else None,
                "parent_sha256": digest(parent) if parent else None,
                "created": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
            }
        )
        data = manifest.to_bytes()
        self.files.create(f"snapshots/{manifest.name}.json", data)
        self.files.point("CURRENT", f"{manifest.name} {digest(data)}\n".encode())
        return manifest

    def artifact(self, place: str) -> Artifact | None:
        """Return what the marker of a result, whose paths begin with `place`, says; None without a sound one."""
        for path in (f"{place}/marker.json", f"{place}.json"):
            try:
                return open_marker(json.loads(self.files.read(path)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (ValueError, RecursionError):
                return None
        return None

    def whole(self, place: str) -> Artifact | None:
        """Return a finished result whose files are all there in their size, or None (then it is to be computed)."""
        artifact = self.artifact(place)
        if artifact is None or any(self.files.size(file.path) != file.bytes for file in artifact.files):
            return None
        return artifact

    def publish(  # noqa: PLR0913 - what is known of a result
        self,
        attempt: Path,
        folder: str,
        label: str,
        fingerprint: str,
        *,
        rows: int,
        stats: Stats | None = None,
        also: tuple[str, ...] = (),
        as_folder: bool = False,
    ) -> Artifact:
        """Move an attempt's files in place, with the marker that says that they are whole.

        In the folder below the memory, table partitions, whose files are called `data`, become
        `LABEL-FINGERPRINT.ENDING`; other results, and all with `as_folder`, the folder `LABEL-FINGERPRINT/`. If another
        worker published the same result in the meantime, that one stays and is returned. `also` are the places of what
        the same unit published beside it.
        """
        name = f"{folder}/{label}-{fingerprint}"
        local = sorted(path for path in attempt.rglob("*") if path.is_file())
        as_folder = as_folder or any(path.stem != "data" for path in local)
        with self.files.lock(folder, wait=True):
            existing = self.whole(name)
            if existing is not None:
                return existing
            targets = [
                f"{name}/{path.relative_to(attempt).as_posix()}" if as_folder else name + path.suffix for path in local
            ]
            entries = [self.files.entry(path, target) for path, target in zip(local, targets, strict=True)]
            artifact = Artifact(
                label=label,
                fingerprint=fingerprint,
                rows=rows,
                files=tuple(FileEntry(path=path, bytes=size, sha256=digest) for path, size, digest in entries),
                stats=stats or Stats(),
                also=also,
            )
            marker = attempt / "marker.json"
            marker.write_bytes(close_marker(artifact))
            if as_folder:
                self.files.move_folder(attempt, name)
            else:
                # The marker last, and written already: from here on nothing needs room on the disk.
                for path, target in zip([*local, marker], [*targets, artifact.marker], strict=True):
                    self.files.move(path, target)
                self.files.remove(attempt.relative_to(self.root).as_posix())
        return artifact


def close_marker(artifact: Artifact) -> bytes:
    """Return a marker file: the artifact and a checksum over it, so that a damaged marker counts as none."""
    body = artifact.model_dump(mode="json")
    return json.dumps({"artifact": body, "sha256": _digest(body)}, sort_keys=True).encode()


def open_marker(marker: Any) -> Artifact | None:
    """Return the artifact of a marker, or None where the marker is damaged."""
    if not isinstance(marker, dict) or marker.keys() != {"artifact", "sha256"}:
        return None
    if _digest(marker["artifact"]) != marker["sha256"]:
        return None
    try:
        return Artifact.model_validate(marker["artifact"])
    except ValidationError:
        return None


def _digest(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def open_store(root: str | Path) -> tuple[Store, Manifest]:
    """Open a memory for reading and resolve its current snapshot.

    Raises:
        MemoryNotFoundError: the folder is missing, is something else, or nothing was committed in it yet.
    """
    store = Store(root)
    if not store.root.is_dir():
        raise MemoryNotFoundError(f"{root}: no such memory; build one with `mnemodex build RECIPE`")
    manifest = store.current()
    if manifest is None:
        msg = f"{root}: is not a memory, or its first build has not finished; run `mnemodex build RECIPE`"
        raise MemoryNotFoundError(msg)
    return store, manifest
