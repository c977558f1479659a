"""Locks on files that a process holds until it closes them or dies."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_locked(path: Path, *, create: bool = True) -> int | None:
    """Open a file, made where it is not there, and lock it; return its descriptor, or None where another holds it.

    The lock is one of an open file description: a second open in the same process does not get it, closing another
    descriptor of the file does not lose it, and NFS carries it, which is not so of `flock` there.

    Raises:
        FileNotFoundError: the file is not there, and is not to be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o666)
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


def open_shared(path: Path) -> int:
    """Open a file for reading and lock it together with other readers; return its descriptor.

    The file need not be writable. Whoever holds the lock of `open_locked` is waited for.

    Raises:
        FileNotFoundError: the file is not there, or was removed meanwhile.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.platform == "linux":
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, _whole(fcntl.F_RDLCK))
        else:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_ino != _inode(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _whole(kind: int) -> bytes:
    """Return the system's words for a lock of a whole file."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, 0, 0, 0)


def _lock(descriptor: int) -> None:
    if sys.platform == "linux":
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole(fcntl.F_WRLCK))
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
