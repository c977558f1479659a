"""A file of judgements, one a line, that is a query file: `mnemodex eval --queries` reads it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import FeedbackError, reason
from mnemodex.schemas.store.locks import open_locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SECONDS, _PAUSE = 5.0, 0.005
"""How long another replica's line is waited for, and between two looks."""


class FeedbackFile:
    """A file of judgements, which replicas of this machine share; made where it is not there.

    Args:
        path: the file's, which only its owner may read if it is made.

    Raises:
        FeedbackError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            msg = f"{path}: cannot be written ({reason(error)}). Name a file in a folder of yours"
            raise FeedbackError(msg) from error

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a line, which is on the disk when this returns.

        Raises:
            FeedbackError: the disk is full, or the file cannot be written.
        """
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        try:
            with _locked(self._path) as descriptor:
                _append(descriptor, line)
        except OSError as error:
            msg = f"the feedback was not kept ({reason(error)}); ask the server's owner to make room"
            raise FeedbackError(msg) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file as soon as no other replica holds it."""
    end = time.monotonic() + _SECONDS
    while (descriptor := open_locked(path)) is None:
        if time.monotonic() > end:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        time.sleep(_PAUSE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _append(descriptor: int, line: bytes) -> None:
    """Write a line at the end of a file: whole, or not at all."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    # A machine that lost power may have left half a line.
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, end)
        raise
