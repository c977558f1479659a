"""Locks on files that a process holds until it closes them or dies."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_WHOLE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def open_locked(path: Path) -> int | None:
    """Open a file, made where it is not there, and lock it; return its descriptor, or None where another holds it.

    The lock is one of an open file description: a second open in the same process does not get it, closing another
    descriptor of the file does not lose it, and NFS carries it, which is not so of `flock` there.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(descriptor)
            # Its last holder may have removed it between the two calls.
            if os.fstat(descriptor).st_ino == _inode(path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if sys.platform == "linux":
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE)
        except PermissionError as error:
            # What POSIX allows instead of EAGAIN.
            raise BlockingIOError from error
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
