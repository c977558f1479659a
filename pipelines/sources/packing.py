"""Packing: pieces of files become splits, so that many small files are few partitions."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from mnemodex.pipelines.sources.base import Piece, Split
from mnemodex.schemas.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_T = TypeVar("_T")
_LABEL = 48


class Packing(Spec):
    """How large the splits of a source are.

    A split is about a sixteenth to a thirty-second of what precedes it in the source. So a small corpus has work for
    every CPU, a large one has few partitions, and a source that grows at its end keeps its splits.

    Attributes:
        rows: most lines, list elements or files of a piece, and of the first splits.
        bytes: most bytes of the same.
        most: how many times as large the largest splits are; 0 for splits of one piece.
    """

    rows: int = Field(default=1024, ge=1)
    bytes: int = Field(default=512 << 10, ge=1)
    most: int = Field(default=64, ge=0)

    def weight(self, piece: Piece) -> int:
        """Return the size of a piece, of which the first splits have at most `rows * bytes`."""
        return max(piece.rows * self.bytes, (piece.end - piece.start) * self.rows)

    def limit(self, before: int) -> int:
        """Return the largest weight of a split by the weight of all that precedes it."""
        full = self.rows * self.bytes
        # Powers of two, so that a file added in front moves only few of the limits behind it.
        return full * min(self.most, 1 << max(0, (before // (16 * full)).bit_length() - 1))


def pack(pieces: Iterable[Piece], packing: Packing) -> Iterator[Split]:
    """Pack pieces into splits, in their order; the first line of a later range of a file is counted from its start."""
    weighed = ((packing.weight(piece), label, piece) for label, piece in _numbered(pieces))
    for members in group(weighed, packing.limit):
        yield Split(members[0][0], tuple(piece for _, piece in members))


def group(items: Iterable[tuple[int, str, _T]], limit: Callable[[int], int]) -> Iterator[list[tuple[str, _T]]]:
    """Group items by their keys, so that an item added or removed changes only the groups around it.

    Content-defined chunking with a least and a greatest length (Muthitacharoen, Chen and Mazieres, LBFS, 2001), over
    items instead of bytes. From five eighths of a full group on, an item ends its group with a probability of eight
    times its share, so that most groups end by their keys and not by their length, which would carry a change on.

    Args:
        items: weight, key and value of each; no two have one key.
        limit: of a group's weight by that of all groups before it; an item beyond it is a group of its own.
    """
    members: list[tuple[str, _T]] = []
    filled = before = 0
    most = limit(0)
    for weight, key, item in items:
        if members and filled + weight > most:
            yield members
            before += filled
            members, filled, most = [], 0, limit(before)
        members.append((key, item))
        filled += weight
        if filled >= most or (8 * filled >= 5 * most and _fraction(key) * most < 8 * weight):
            yield members
            before += filled
            members, filled, most = [], 0, limit(before)
    if members:
        yield members


def _fraction(key: str) -> float:
    """Return a number in [0, 1) that depends on the key only, evenly distributed."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def _numbered(pieces: Iterable[Piece]) -> Iterator[tuple[str, Piece]]:
    """Yield pieces with labels: the name of the file, and the number of the piece in it."""
    path, number = "", 0
    for piece in pieces:
        number = number + 1 if piece.path == path else 0
        path = piece.path
        yield f"{slug(path)}-{number:05d}", piece


def slug(path: str) -> str:
    """Return the path if it is safe and short, else its safe characters and eight digits of its hash; all differ."""
    if re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{_LABEL - 1}}}", path):
        return path
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", path).lstrip(".-")
    return f"{safe[: _LABEL - 9]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
