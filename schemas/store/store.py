"""A memory's folder: finding, publishing and committing write-once results."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mnemodex.schemas.errors import CorruptFileError, MemoryNotFoundError, ObjectStoreError
from mnemodex.schemas.manifest import Artifact, FileEntry, Manifest, Stats
from mnemodex.schemas.manifest import fingerprint as hash_of
from mnemodex.schemas.store.commits import Commits
from mnemodex.schemas.store.files import LEASE
from mnemodex.schemas.store.local_files import sha256

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mnemodex.schemas.store.object_url import Root

_KNOWN = {"CURRENT", LEASE, "snapshots", "tables", "indexes", "answers", "work"}


class Store(Commits):
    """The folder of one memory.

    Everything is write-once: a result is published under its fingerprint and never changed, and a snapshot names the
    results that belong together. Readers resolve once and keep what they resolved.
    """

    def prepare(self) -> None:
        """Make the folder ready for writing.

        Raises:
            MemoryNotFoundError: it holds something else, or cannot be made.
        """
        try:
            self.files.make()
        except FileExistsError as error:
            raise MemoryNotFoundError(
                f"{self.root}: is a file, not a memory; choose another folder for `memory`"
            ) from error
        except ObjectStoreError:
            raise
        except OSError as error:
            raise MemoryNotFoundError(
                f"{self.root}: cannot be made ({error.strerror}: {error.filename}); choose another folder for `memory`"
            ) from error
        strange = [name for name in self.files.names(".") if name not in _KNOWN]
        if strange and not self._snapshots():
            msg = f"{self.root}: is not a memory (it holds {strange[0]!r}); choose an empty or new folder for `memory`"
            raise MemoryNotFoundError(msg)

    def lock(self) -> AbstractContextManager[None]:
        """Return the lease of the memory, which one build holds at a time."""
        return self.files.lease()

    def artifact(self, place: str) -> Artifact | None:
        """Return what the marker of a result, whose paths begin with `place`, says; None without a sound one."""
        # In format 2 a folder's marker is in it.
        for path in (f"{place}.json", f"{place}/marker.json"):
            try:
                return _parse_marker(self.files.read(path))
            except (FileNotFoundError, NotADirectoryError):
                continue
        return None

    def whole(self, place: str) -> Artifact | None:
        """Return a finished result whose files are all there in their size, or None (then it is to be computed)."""
        artifact = self.artifact(place)
        return artifact if artifact is not None and self.has(artifact) else None

    def checked(self, place: str) -> Artifact:
        """Return what the marker of a result says.

        Raises:
            CorruptFileError: there is no sound one.
        """
        artifact = self.artifact(place)
        if artifact is None:
            raise CorruptFileError(f"{self.root / place}: its marker is missing or damaged; restore it from a copy")
        return artifact

    def has(self, artifact: Artifact) -> bool:
        """Return whether the files of a finished result are all there in their size."""
        return all(self.files.size(file.path) == file.bytes for file in artifact.files)

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
        """Move an attempt's files in place, then the marker that says that they are whole.

        In the folder below the memory, table partitions, whose files are called `data`, become
        `LABEL-FINGERPRINT-CONTENT.ENDING`; other results, and all with `as_folder`, the folder
        `LABEL-FINGERPRINT-CONTENT/`. Since a hash of the content is in the name, two writers never write different
        bytes to one place. The first one's marker stays, and what it names is returned. `also` are the places of what
        the same unit published with it.
        """
        place = f"{folder}/{label}-{fingerprint}"
        local = sorted(path for path in attempt.rglob("*") if path.is_file())
        digests = [sha256(path) for path in local]
        former = self.artifact(place)
        if former is not None and self.has(former):
            self._forget(attempt)
            return former
        name = f"{place}-{hash_of(digests)[:10]}"
        as_folder = as_folder or any(path.stem != "data" for path in local)
        targets = [
            f"{name}/{path.relative_to(attempt).as_posix()}" if as_folder else name + path.suffix for path in local
        ]
        if former is not None and [file.sha256 for file in former.files] == digests:
            # What was damaged is repaired where it is, for older snapshots too.
            targets = [file.path for file in former.files]
        files = [
            FileEntry(path=target, bytes=path.stat().st_size, sha256=digest)
            for path, target, digest in zip(local, targets, digests, strict=True)
        ]
        artifact = Artifact(
            label=label, fingerprint=fingerprint, rows=rows, files=tuple(files), stats=stats or Stats(), also=also
        )
        marker = attempt / "marker.json"
        # Before the files are moved: from there on nothing needs room on the disk.
        marker.write_bytes(close_marker(artifact))
        new = all(self.files.size(target) is None for target in targets)
        self.files.put_all(zip(local, files, strict=True))
        published = self._mark(artifact, marker)
        if new and published.folder != artifact.folder:
            for path in (*targets, artifact.folder):
                self.files.delete(path)
        self._forget(attempt)
        return published

    def withdraw(self, artifact: Artifact) -> None:
        """Forget that a result, which no snapshot names, and those published with it are finished."""
        for place in (artifact.place, *artifact.also):
            found = self.artifact(place)
            if found is not None:
                self.files.delete(found.marker)

    def _mark(self, artifact: Artifact, marker: Path) -> Artifact:
        """Put a result's marker in place, unless another whole result has its there; return the one that is there."""
        if self.files.put_if_absent(artifact.marker, marker):
            return artifact
        winner = self.whole(artifact.place)
        if winner is None:
            self.files.put(artifact.marker, marker)
        return winner or artifact

    def _forget(self, attempt: Path) -> None:
        self.files.delete(attempt.relative_to(self.files.scratch).as_posix())


def close_marker(artifact: Artifact) -> bytes:
    """Return a marker file: the artifact and a checksum over it, so that a damaged marker counts as none."""
    body = artifact.model_dump(mode="json")
    return json.dumps({"artifact": body, "sha256": _digest(body)}, sort_keys=True).encode()


@lru_cache(maxsize=1 << 13)
def _parse_marker(data: bytes) -> Artifact | None:
    """Return the artifact of a marker's bytes: every step of a build reads those of what it is made of."""
    try:
        return open_marker(json.loads(data))
    except (ValueError, RecursionError):
        return None


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


def open_store(root: str | Root, *, snapshot: str | int | None = None) -> tuple[Store, Manifest]:
    """Open a memory for reading and resolve a snapshot: the current one, or one by its number.

    Raises:
        MemoryNotFoundError: the folder is missing, is something else, or nothing was committed in it yet.
        SnapshotNotFoundError: there is no snapshot of that number.
    """
    store = Store(root)
    if not store.files.is_made():
        raise MemoryNotFoundError(f"{root}: no such memory; build one with `mnemodex build RECIPE`")
    manifest = store.current() if snapshot is None else store.at(snapshot)
    if manifest is None:
        msg = f"{root}: is not a memory, or its first build has not finished; run `mnemodex build RECIPE`"
        raise MemoryNotFoundError(msg)
    return store, manifest
