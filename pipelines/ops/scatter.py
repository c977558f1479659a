"""One pass over the rows of a table, whatever its size, to meet those that have one number: rows by ranges of it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.schemas.store.files import Files

ROWS = 1 << 17
"""Of a group, roughly; more from 32 million rows on."""
_MOST_BITS = 8
"""Of the number of groups: their files are open at once."""


def scatter(files: Files, batches: Iterable[Int64s], rows: int) -> Iterator[Int64s]:
    """Yield rows in groups, all rows of one number in one group, in their order; each group is held in memory.

    Groups are of hashes of the numbers (Fibonacci hashing, Knuth, The Art of Computer Programming 3, 6.4), so that they
    are of about one size. The rows lie in files of an attempt's folder until then.

    Args:
        files: of the memory.
        batches: int64 of shape (rows, columns); the first column is the number.
        rows: of all batches, roughly.
    """
    bits = min(_MOST_BITS, 1 + (rows // ROWS).bit_length())
    bounds = np.arange(1, 1 << bits)
    folder = files.attempt()
    try:
        columns = 1
        with ExitStack() as stack:
            groups = [stack.enter_context((folder / f"{group}").open("wb")) for group in range(1 << bits)]
            for batch in batches:
                columns = batch.shape[1]
                hashes = batch[:, 0].view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - bits)
                order = np.argsort(hashes, kind="stable")
                ends = np.searchsorted(hashes[order], bounds)
                for file, part in zip(groups, np.split(batch[order], ends), strict=True):
                    file.write(part.tobytes())
        for group in range(1 << bits):
            yield np.fromfile(folder / f"{group}", np.int64).reshape(-1, columns)
    finally:
        files.delete(f"work/{folder.name}")
