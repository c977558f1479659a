"""Verification of a language model's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.ids import token_positions
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


def check_tokens(store: Store, documents: Artifact, tokens: Artifact, table: str) -> Iterator[str]:
    """One row a document, and as many first characters as tokens."""
    place = f"{store.root}: {table} partition {tokens.label}"
    rows = parquet.read(store.files.local(tokens.file(".parquet").path))
    ids = parquet.read(store.files.local(documents.file(".parquet").path), columns=["doc_id"])["doc_id"]
    if not rows["doc_id"].equals(ids):
        yield f"{place}: its documents are not those of what it was made of; build again"
    lists = (rows[name].combine_chunks().value_lengths() for name in ("tokens", "starts"))
    if not next(lists).equals(next(lists)):
        yield f"{place}: a document has not as many first characters as tokens; build again"


def check_states(store: Store, tokens: Artifact, chunks: Artifact, states: Artifact, table: str) -> Iterator[str]:
    """Every value is the token at its position, every chunk one of the document's, and both files have the keys."""
    place = f"{store.root}: {table} partition {states.label}"
    rows = parquet.read(store.files.local(states.file(".parquet").path))
    doc_ids, offsets = rows["doc_id"].to_numpy(), rows["token_offset"].to_numpy()
    if not np.array_equal(token_positions(doc_ids, offsets), rows["position"].to_numpy()):
        yield f"{place}: a position is not that of its document and token; build again"
    read = parquet.read(store.files.local(tokens.file(".parquet").path), columns=["doc_id", "tokens"])
    lists = read["tokens"].combine_chunks()
    starts, known = lists.offsets.to_numpy().astype(np.int64), read["doc_id"].to_numpy()
    order = np.argsort(known)
    text = order[np.minimum(np.searchsorted(known, doc_ids, sorter=order), len(known) - 1)]
    inside = (known[text] == doc_ids) & (offsets >= 0) & (offsets < np.diff(starts)[text])
    if not inside.all() or (lists.flatten().to_numpy()[starts[text] + offsets] != rows["value"].to_numpy()).any():
        yield f"{place}: a value is not the token of its document; build again"
    beside = parquet.read(store.files.local(chunks.file(".parquet").path), columns=["chunk_id", "doc_id"])
    pairs = rows.select(["chunk_id", "doc_id"]).group_by(["chunk_id", "doc_id"]).aggregate([])
    if pairs.join(beside, ["chunk_id", "doc_id"], join_type="left anti").num_rows:
        yield f"{place}: a chunk_id is not one of its document's; build again"
    keys = np.load(store.files.local(states.file(".npy").path), mmap_mode="r", allow_pickle=False)
    packed = rows["key"].combine_chunks()
    if not np.array_equal(np.frombuffer(packed.buffers()[1], np.uint16), keys.view(np.uint16).ravel()):
        yield f"{place}: the Parquet and .npy keys differ; build again"
