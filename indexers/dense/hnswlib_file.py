"""Whether a file of hnswlib leads nowhere but into itself: the library follows its numbers without looking."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.compiled import kernel
from mnemodex.schemas.errors import CorruptFileError, reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Int64s, Uint32s

_HEADER = np.dtype(
    [
        *((name, "<u8") for name in ("level_0", "room", "rows", "size", "label", "vector")),
        ("top", "<i4"),
        ("entry", "<u4"),
        *((name, "<u8") for name in ("links", "links_0", "m")),
        ("scale", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
"""The fields that a file begins with, as hnswlib 0.8 writes them in 96 bytes."""
_BLOCK = 1 << 16
"""Rows that are looked at at a time."""


class _Header(NamedTuple):
    level_0: int
    room: int
    rows: int
    size: int
    label: int
    vector: int
    top: int
    entry: int
    links: int
    links_0: int
    m: int
    scale: float
    ef_construction: int


def check_file(path: Path, dimension: int) -> None:
    """Refuse, by a `CorruptFileError`, a file of another dimension, or whose links lead to what is not there."""
    try:
        data = np.fromfile(path, np.uint8) if path.stat().st_size < _HEADER.itemsize else np.memmap(path, mode="r")
    except OSError as error:
        raise CorruptFileError(f"{path}: cannot be read ({reason(error)}); build the index again") from error
    fault = next(_faults(data, dimension), None)
    if fault is not None:
        raise CorruptFileError(f"{path}: {fault}; build the index again")


def _faults(data: Array, dimension: int) -> Iterator[str]:
    if len(data) < _HEADER.itemsize or len(data) % 4:
        yield "is cut short"
    header = _Header(*data[: _HEADER.itemsize].view(_HEADER)[0].item())
    stored = (header.label - header.vector) // 4
    if stored != dimension:
        yield f"holds vectors of {stored} dimensions, not {dimension}"
    vector = 4 + 4 * header.links_0
    layout = (0, vector + 4 * dimension + 8, vector + 4 * dimension, vector, 2 * header.links)
    if (header.level_0, header.size, header.label, header.vector, header.links_0) != layout:
        yield "its header does not agree with itself"
    end = _HEADER.itemsize + header.rows * header.size
    # Room for more is taken when it is read.
    if not 0 < header.links < 1 << 14 or end > len(data) or header.room > 2 * header.rows + 1:
        yield "has another size than its header says"
    if not all(_links_are_inside(data, header, start) for start in range(0, header.rows, _BLOCK)):
        yield "its links or labels lead to rows that are not there"
    words = np.asarray(data).view(np.uint32)
    levels, starts = np.zeros(header.rows, np.int64), np.zeros(header.rows, np.int64)
    if _find_levels(words, end // 4, header.links + 1, levels, starts) != len(words):
        yield "its upper levels have another size than it"
    if not _levels_are_inside(words, header.links, levels, starts):
        yield "links of its upper levels lead to rows that are not there"
    if header.rows and (header.entry >= header.rows or levels[header.entry] != header.top):
        yield "searches would begin at a row that is not there"


def _links_are_inside(data: Array, header: _Header, start: int) -> bool:
    count = min(_BLOCK, header.rows - start)
    first = _HEADER.itemsize + start * header.size

    def field(dtype: str, offset: int, *shape: int) -> Array:
        strides = (header.size, *(4 for _ in shape))
        return np.ndarray((count, *shape), dtype, buffer=data, offset=first + offset, strides=strides)

    sizes, links, labels = field("<u2", 0), field("<u4", 4, header.links_0), field("<u8", header.label)
    used = np.arange(header.links_0) < sizes[:, None]
    return bool(
        sizes.max() <= header.links_0 and labels.max() < header.rows and not (used & (links >= header.rows)).any()
    )


@kernel
def _find_levels(words: Uint32s, at: int, width: int, levels: Int64s, starts: Int64s) -> int:
    """Write the upper levels of each row and where their links begin; return the end, or -1 where they do not fit."""
    for row in range(len(levels)):
        if at >= len(words):
            return -1
        size = int(words[at])
        at += 1
        if size % (4 * width) != 0 or at + size // 4 > len(words):
            return -1
        levels[row], starts[row] = size // (4 * width), at
        at += size // 4
    return at


@kernel
def _levels_are_inside(words: Uint32s, links: int, levels: Int64s, starts: Int64s) -> bool:
    """Whether the links of each level lead to rows that have it."""
    for row in range(len(levels)):
        for level in range(levels[row]):
            at = starts[row] + level * (links + 1)
            count = int(words[at]) & 0xFFFF
            if count > links:
                return False
            for link in range(at + 1, at + 1 + count):
                if words[link] >= len(levels) or levels[words[link]] <= level:
                    return False
    return True
