"""The path of an export: written under a temporary name in the same folder, and renamed when it is complete."""

from __future__ import annotations

import glob
import os
import shutil
import uuid
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import ExportError, reason
from mnemodex.schemas.store.locks import open_locked
from mnemodex.schemas.store.object_url import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DATASETS = "dataset_dict.json"
"""The file that a folder of datasets has: no other folder is replaced."""
_MARK_LETTERS = 8
"""Of what distinguishes the temporary names of exports to one path."""


def check_target(path: Path, memory: str, *, force: bool, folder: bool = False) -> None:
    """Refuse a path that exists, unless `force`, one whose folder does not exist, and one in the memory's folder.

    With `force`, a file or a folder of datasets may be replaced, whichever is to be written.

    Raises:
        ExportError: says which, and what to do.
    """
    if is_url(path):
        raise ExportError(f"{path}: is in an object store; write the export to this machine, and copy it there")
    if not is_url(memory) and path.resolve().is_relative_to(Path(memory).resolve()):
        raise ExportError(f"{path}: is in the memory's folder; name a path outside of it")
    if not path.absolute().parent.is_dir():
        raise ExportError(f"{path}: its folder does not exist; make it, or choose another path")
    if path.exists() and not force:
        raise ExportError(f"{path}: already exists; pass --force to replace it, or choose another path")
    if path.exists() and path.is_dir() != folder:
        raise ExportError(f"{path}: is a {'file' if folder else 'folder'}; remove it, or choose another path")
    if folder and path.exists() and not (path / _DATASETS).is_file():
        raise ExportError(f"{path}: is a folder of other things than datasets; remove it, or choose another path")


def check_different(paths: Sequence[Path]) -> None:
    """Refuse two forms at one path, or one in the folder of another, by an `ExportError`."""
    for path, other in permutations(paths, 2):
        if path.resolve().is_relative_to(other.resolve()):
            raise ExportError(f"{path}: another form is written to {other}; give each form a path of its own")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder, for a file or a folder that replaces another one at the end.

    If writing fails, the former one stays and the unfinished one is removed; that of an export that was killed is
    removed by the next one to the same path.

    Raises:
        ExportError: the disk refused.
    """
    mark = uuid.uuid4().hex[:_MARK_LETTERS]
    try:
        _remove_abandoned(path)
        # It is held until everything else of this export is removed.
        lock = open_locked(_temporary(path, mark, "lock"))
        assert lock is not None  # noqa: S101 - nobody else knows its name
        try:
            yield _temporary(path, mark, "part")
            _replace(_temporary(path, mark, "part"), path, _temporary(path, mark, "old"))
        finally:
            _remove(path, mark)
            os.close(lock)
    except OSError as error:
        remedy = "correct that, or choose another path"
        raise ExportError(f"{path}: cannot be written ({reason(error)}); {remedy}") from error


def _temporary(path: Path, mark: str, kind: str) -> Path:
    return path.with_name(f".{path.name}.{mark}.{kind}")


def _remove_abandoned(path: Path) -> None:
    """Remove what exports to a path have left that were killed: those whose lock is free."""
    for file in path.parent.glob(f".{glob.escape(path.name)}.{'?' * _MARK_LETTERS}.lock"):
        try:
            lock = open_locked(file, create=False)
        except FileNotFoundError:
            # Its export has ended.
            continue
        if lock is None:
            continue
        mark = file.name.removesuffix(".lock")[-_MARK_LETTERS:]
        former = _temporary(path, mark, "old")
        try:
            if former.exists() and not path.exists():
                former.rename(path)
            _remove(path, mark)
        finally:
            os.close(lock)


def _remove(path: Path, mark: str) -> None:
    """Remove the temporary files of an export, and its lock last."""
    lock = _temporary(path, mark, "lock")
    # DuckDB's log of what is not in its file yet has a longer name.
    for left in path.parent.glob(f".{glob.escape(path.name)}.{mark}.*"):
        if left.is_dir():
            shutil.rmtree(left)
        elif left != lock:
            left.unlink(missing_ok=True)
    lock.unlink(missing_ok=True)


def _replace(unfinished: Path, path: Path, former: Path) -> None:
    if not path.is_dir():
        unfinished.replace(path)
        return
    # A folder with files is not replaced by a rename.
    path.rename(former)
    try:
        unfinished.rename(path)
    except OSError:
        former.rename(path)
        raise
