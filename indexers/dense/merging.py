"""Merging shards of inverted lists into one index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.dense.faiss_engine import FILE, FaissEngine, read_index
from mnemodex.indexers.dense.probe import Probe, merge_probes
from mnemodex.indexers.dense.shard import ShardHeader, write_shard
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def merge_shards(shards: Sequence[Path], out: Path) -> ShardHeader:
    """Merge shards that were built with the same trained index; their rows follow one another.

    FAISS moves the lists, so memory holds the merged index and one shard beside it: 400 bytes a row for 384 dimensions
    in 8 bits. What does not fit so can stay as several shards, which are searched together.

    Raises:
        CorruptFileError: the shards are not of one index, or one of them cannot be read.
    """
    headers = [ShardHeader.read(shard) for shard in shards]
    alike = {(header.engine, header.factory, header.metric, header.dimension) for header in headers}
    if len(alike) > 1:
        raise CorruptFileError(
            f"{shards[0].parent}: its shards were built with different settings; build the index again"
        )
    merged = read_index(shards[0] / FILE)
    for shard in shards[1:]:
        other = read_index(shard / FILE)
        try:
            merged.merge_from(other, merged.ntotal)
        except RuntimeError as error:
            raise CorruptFileError(
                f"{shard}: does not merge with {shards[0]} ({error}); build the index again"
            ) from error
    header = _joined_header(headers)
    if merged.ntotal != header.rows:
        raise CorruptFileError(
            f"{out}: {merged.ntotal} vectors, but the shards have {header.rows} rows; build the index again"
        )
    FaissEngine(merged, header.metric).save(out)
    rows = [Rows.open(shard, id_column=header.id_column) for shard in shards]
    write_shard(out, header, Rows.concatenate(rows))
    merge_probes([Probe.load(shard) for shard in shards]).save(out)
    return header


def _joined_header(headers: Sequence[ShardHeader]) -> ShardHeader:
    joined = {
        "partition_rows": tuple(rows for header in headers for rows in header.partition_rows),
        "rows": sum(header.rows for header in headers),
    }
    return headers[0].model_copy(update=joined)
