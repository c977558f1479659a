"""Where an export goes: written under another name beside it, and renamed when it is complete."""

from __future__ import annotations

import glob
import shutil
import uuid
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import ExportError, reason
from mnemodex.schemas.store.object_url import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_MARK = "dataset_dict.json"
"""The file by which a folder of datasets is known: no other folder is replaced."""


def check_target(path: Path, memory: str, *, force: bool, folder: bool = False) -> None:
    """Refuse a path that exists, unless `force`, and one in no folder, or in that of the memory.

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
    if folder and path.exists() and not (path / _MARK).is_file():
        raise ExportError(f"{path}: is a folder of other things than datasets; remove it, or choose another path")


def check_different(paths: Sequence[Path]) -> None:
    """Refuse two forms at one path, or one in the folder of another, by an `ExportError`."""
    for path, other in permutations(paths, 2):
        if path.resolve().is_relative_to(other.resolve()):
            raise ExportError(f"{path}: another form is written to {other}; give each form a path of its own")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside another one, for a file or a folder that takes its place at the end.

    What was there is removed then; if writing fails, it stays, and what is unfinished is removed.

    Raises:
        ExportError: the disk refused.
    """
    mark = uuid.uuid4().hex[:8]
    unfinished, former = (path.with_name(f".{path.name}.{mark}.{what}") for what in ("part", "old"))
    try:
        yield unfinished
        _replace(unfinished, path, former)
    except OSError as error:
        remedy = "correct that, or choose another path"
        raise ExportError(f"{path}: cannot be written ({reason(error)}); {remedy}") from error
    finally:
        # DuckDB's log of what is not in its file yet has a longer name.
        for left in path.parent.glob(f".{glob.escape(path.name)}.{mark}.*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)


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
