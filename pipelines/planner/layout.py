"""How a corpus of N documents is cut: the partitions that a build of it would have."""

from __future__ import annotations

from collections import Counter

from mnemodex.pipelines.sources.packing import Packing, group

_SIMULATED = 40_000
"""Pieces of a source that are packed; the splits of what follows are as large as the last ones."""


def partition_rows(documents: int, document_bytes: float, packing: Packing | None = None) -> Counter[int]:
    """Return how many partitions of so many documents each there are, of a source in one file.

    Args:
        documents: of the source.
        document_bytes: bytes of a document's line, on average.
        packing: of the source.
    """
    packing = packing or Packing()
    if documents < 1:
        return Counter()
    rows = max(1, min(packing.rows, int(packing.bytes // max(document_bytes, 1.0))))
    pieces = -(-documents // rows)
    simulated = min(pieces, _SIMULATED)
    sizes = [rows] * simulated
    if simulated == pieces:
        sizes[-1] = documents - rows * (pieces - 1)

    def weight(size: int) -> int:
        return int(max(size * packing.bytes, size * document_bytes * packing.rows))

    items = ((weight(size), f"documents-{number:05d}", size) for number, size in enumerate(sizes))
    splits = [sum(size for _, size in members) for members in group(items, packing.limit)]
    found = Counter(splits)
    left = documents - sum(splits)
    if left > 0:
        half = splits[len(splits) // 2 :]
        usual = max(1, round(sum(half) / len(half)))
        found[usual] += left // usual
        if left % usual:
            found[left % usual] += 1
    return found


def shard_sizes(rows: int, shard_rows: int) -> Counter[int]:
    """Return how many shards of so many rows there are."""
    full, rest = divmod(rows, shard_rows)
    return Counter({size: count for size, count in ((shard_rows, full), (rest, 1)) if size and count})
