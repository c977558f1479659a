"""The server's log: JSON lines that its processes write, and the command prints."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = "mnemodex"
_LONGEST = 4000
"""Bytes of a line: lines of several processes do not mix in a pipe as long as they are no longer than that."""


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; the message of a request is one already."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "process": record.process}
        request = getattr(record, "request", None)
        line |= request if request is not None else {"message": record.getMessage()}
        text = json.dumps(line)
        if record.exc_info:
            room = _LONGEST - len(text) - len(', "trace": ')
            trace = json.dumps({"trace": self.formatException(record.exc_info)[-room // 2 :]})
            text = f"{text[:-1]}, {trace[1:]}"
        return text[:_LONGEST]


class _Pipe(logging.Handler):
    """Writes to a pipe whose reader prints; what it does not read in time is lost, and holds nobody up."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self._file, (self.format(record) + "\n").encode())
        except OSError:
            # A log that cannot be written fails no request.
            return


def log_to(path: Path | None) -> None:
    """Let this process log to a pipe that `printed` made; without one to stderr, which the Ray of a cluster keeps."""
    handler: logging.Handler = logging.StreamHandler() if path is None else _Pipe(path)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextlib.contextmanager
def printed() -> Iterator[Path]:
    """Make a pipe, and print the lines that processes of this machine write to it on stderr as long as this lasts."""
    with tempfile.TemporaryDirectory(prefix="mnemodex-") as folder:
        path = Path(folder) / "log"
        os.mkfifo(path, 0o600)
        # For reading and writing: it does not end when the last process that writes does.
        descriptor = os.open(path, os.O_RDWR)
        thread = threading.Thread(target=_print, args=(descriptor,), name="log", daemon=True)
        thread.start()
        try:
            yield path
        finally:
            os.write(descriptor, b"\n")
            thread.join()
            os.close(descriptor)


def _print(descriptor: int) -> None:
    """Print lines until an empty one; those that a full disk does not take are lost."""
    with open(descriptor, "rb", closefd=False) as file:
        for line in file:
            if line == b"\n":
                return
            with contextlib.suppress(OSError):
                sys.stderr.write(line.decode("utf-8", "replace"))
                sys.stderr.flush()
