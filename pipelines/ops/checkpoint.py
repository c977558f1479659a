"""Work of a model that is kept while a unit is computed, so that a killed worker loses seconds of it."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.store.store import Store

SECONDS = 20.0
"""Between two writes."""


class Checkpoint:
    """Record batches of one unit, in the order in which they were added; below `work/partial`.

    What a batch means is the op's: rows that are done, with their numbers in the unit. Another input or setting gives
    the unit another fingerprint, and so another checkpoint.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._files = store.files
        self._folder = f"work/partial/{fingerprint}"
        self._waiting: list[pa.RecordBatch] = []
        self._written = time.monotonic()

    def load(self) -> Iterator[pa.RecordBatch]:
        """Yield what a former try kept; a damaged file counts as none."""
        for name in self._files.names(self._folder):
            data = self._files.read(f"{self._folder}/{name}")
            if name.endswith(f"-{_digest(data)}.arrow"):
                with pa.ipc.open_stream(data) as reader:
                    yield from reader

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep a batch; it is on the disk some seconds later."""
        self._waiting.append(batch)
        if time.monotonic() - self._written > SECONDS:
            self._write()

    def _write(self) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._waiting[0].schema) as writer:
            for batch in self._waiting:
                writer.write_batch(batch)
        data = sink.getvalue().to_pybytes()
        number = len(self._files.names(self._folder))
        self._files.write(f"{self._folder}/{number:05d}-{_digest(data)}.arrow", data)
        self._waiting, self._written = [], time.monotonic()

    def remove(self) -> None:
        """Forget the unit: its results are published."""
        self._files.remove(self._folder)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
