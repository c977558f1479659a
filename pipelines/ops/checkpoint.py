"""Work of a model that is kept while a unit is computed, so that a killed worker loses seconds of it."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.store.store import Store

PARTIAL = "work/partial"
"""Where they lie."""
SECONDS = 20.0
"""Between two writes."""


class Checkpoint:
    """Record batches of one unit, in the order in which they were added.

    What a batch means is the op's: rows that are done, with their numbers in the unit; of two writers, the same ones.
    Another input or setting gives the unit another fingerprint, and so another checkpoint.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._files = store.files
        self._fingerprint = fingerprint
        self._paths: list[str] = []
        self._waiting: list[pa.RecordBatch] = []
        self._written = time.monotonic()

    def load(self) -> Iterator[pa.RecordBatch]:
        """Yield what a former try kept; a damaged file counts as none."""
        for path in self._kept():
            try:
                data = self._files.read(path)
            except FileNotFoundError:
                # Another writer finished the unit.
                continue
            self._paths.append(path)
            if path.endswith(f"-{_digest(data)}.arrow"):
                with pa.ipc.open_stream(data) as reader:
                    yield from reader

    def _kept(self) -> list[str]:
        """Return the files of all tries."""
        names = self._files.names(PARTIAL)
        return [f"{PARTIAL}/{name}" for name in names if name.startswith(f"{self._fingerprint}-")]

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep a batch; it is on the disk some seconds later."""
        self._waiting.append(batch)
        if time.monotonic() - self._written > SECONDS:
            self._write()

    def save(self) -> None:
        """Write what waits, before the unit is given up by an error."""
        if self._waiting:
            self._write()

    def _write(self) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._waiting[0].schema) as writer:
            for batch in self._waiting:
                writer.write_batch(batch)
        data = sink.getvalue().to_pybytes()
        path = f"{PARTIAL}/{self._fingerprint}-{len(self._kept()):05d}-{_digest(data)}.arrow"
        self._files.put(path, data)
        self._paths.append(path)
        self._waiting, self._written = [], time.monotonic()

    def remove(self) -> None:
        """Forget what was loaded and added: the unit's results are published. Another writer's stay."""
        for path in self._paths:
            self._files.delete(path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
