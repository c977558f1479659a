"""The audit log: who asked what kind of thing when, one JSON line a request; never a question, a text or a key."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import UserError, reason

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("mnemodex.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A request, as the audit log has it.

    Attributes:
        request: its id.
        key: the key's name; None where it had none that is known.
        operation: what was asked.
        memory: of which memory, where the request names one.
        index: of which index.
        questions: how many.
        status: of the answer.
        ms: how long it took, milliseconds.
    """

    request: str
    key: str | None
    operation: str
    memory: str | None
    index: str | None
    questions: int
    status: int
    ms: float


class Audit:
    """An audit log, which every process of a server appends to.

    A log that cannot be written fails no request: what is lost is counted, and said once in the server's log.

    Args:
        path: the file; made where it is not there, readable by its owner alone.

    Attributes:
        lost: entries that could not be written.

    Raises:
        UserError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._torn = False
        self.lost = 0
        try:
            self._file = self._open()
        except OSError as error:
            raise UserError(f"{path}: the audit log cannot be opened ({reason(error)}). Name another file") from error

    def write(self, entry: Entry) -> None:
        """Append an entry."""
        time = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        line = (json.dumps({"time": time} | asdict(entry)) + "\n").encode("ascii")
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                self.lost += 1
                if self.lost == 1:
                    _log.error("the audit log is not written: %s", reason(error))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        """Append a line by one call of the system, so that lines of several processes do not mix."""
        if self._is_moved():
            former, self._file = self._file, self._open()
            os.close(former)
        data = b"\n" + line if self._torn else line
        written = os.write(self._file, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _is_moved(self) -> bool:
        """Whether what rotates logs has put the file elsewhere."""
        try:
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return True

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
