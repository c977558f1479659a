"""Checks of a language model's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import find_ids
from mnemodex.schemas.ids import token_positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.checks.partition import CheckedPartition


def check_tokens(partition: CheckedPartition) -> Iterator[str]:
    """Check that there is one row a document, with as many first characters as tokens."""
    rows = partition.rows
    if not rows["doc_id"].equals(partition.parent("documents", ["doc_id"])["doc_id"]):
        yield partition.problem("its documents are not those of documents, in their order")
    tokens, starts = (rows[name].combine_chunks().offsets for name in ("tokens", "starts"))
    if not tokens.equals(starts):
        yield partition.problem("not as many first characters as tokens")


def check_states(partition: CheckedPartition) -> Iterator[str]:
    """Check that values are the tokens at their positions, chunks the documents', and keys the same in both files."""
    rows = partition.rows
    doc_ids, offsets = rows["doc_id"].to_numpy(), rows["token_offset"].to_numpy()
    if not np.array_equal(token_positions(doc_ids, offsets), rows["position"].to_numpy()):
        yield partition.problem("a position is not that of its document and token")
    documents = partition.parent(partition.table.name.replace("lm_states/", "lm_tokens/", 1), ["doc_id", "tokens"])
    lists = documents["tokens"].combine_chunks()
    starts, known = lists.offsets.to_numpy().astype(np.int64), documents["doc_id"].to_numpy()
    text = find_ids(known, doc_ids)
    inside = (known[text] == doc_ids) & (offsets >= 0) & (offsets < np.diff(starts)[text])
    if not inside.all() or (lists.flatten().to_numpy()[starts[text] + offsets] != rows["value"].to_numpy()).any():
        yield partition.problem("a value is not the token of its document")
    columns = ["chunk_id", "doc_id"]
    pairs = rows.select(columns).group_by(columns).aggregate([])
    if pairs.join(partition.parent("chunks", columns), columns, join_type="left anti").num_rows:
        yield partition.problem("a chunk_id is not one of its document's")
    keys = np.frombuffer(rows["key"].combine_chunks().buffers()[1], np.uint16)
    if not np.array_equal(keys, np.asarray(partition.matrix()).view(np.uint16).ravel()):
        yield partition.problem("the Parquet and .npy keys differ")
