"""Attempts: folders that belong to one writer each, whose locks say that it lives."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from mnemodex.schemas.store.folders import make_folder
from mnemodex.schemas.store.locks import open_locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS = ("attempt-", "run-")
"""How the names of attempts begin."""

_ALIVE = ".alive"


class Attempts:
    """The attempts in a folder. Those of this object are locked until they are released, or its process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: dict[Path, int] = {}

    def make(self, kind: str) -> Path:
        """Make a folder whose name begins with a kind, and lock it."""
        make_folder(self._folder)
        descriptor = None
        # Again where another writer that tidies up held the file for a moment.
        while descriptor is None:
            path = self._folder / f"{kind}-{uuid.uuid4().hex}"
            # Before the folder, so that none is ever seen without it.
            descriptor = open_locked(_alive(path))
        self._locks[path] = descriptor
        try:
            path.mkdir()
        except OSError:
            self.release(path)
            raise
        return path

    def own(self) -> list[Path]:
        """Return the attempts of this object."""
        return list(self._locks)

    def take_abandoned(self) -> Iterator[Path]:
        """Yield the attempts of writers that are dead, whose locks are free, each locked for this object."""
        entries = sorted(self._folder.iterdir()) if self._folder.is_dir() else ()
        names = [path.name.removesuffix(_ALIVE) for path in entries if path.name.startswith(ATTEMPTS)]
        for path in dict.fromkeys(self._folder / name for name in names):
            descriptor = open_locked(_alive(path)) if path not in self._locks else None
            if descriptor is not None:
                self._locks[path] = descriptor
                yield path

    def release(self, path: Path) -> None:
        """Unlock an attempt, after its folder was removed; do nothing with other paths."""
        descriptor = self._locks.pop(path, None)
        if descriptor is not None:
            _alive(path).unlink(missing_ok=True)
            os.close(descriptor)


def _alive(folder: Path) -> Path:
    """Return the file next to an attempt whose lock says that its writer lives."""
    return folder.with_name(folder.name + _ALIVE)
