"""Checks of documents, chunks and training pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.pipelines.documents.read import content_hash
from mnemodex.pipelines.stages.pairs import pair_ids
from mnemodex.schemas.ids import hash_columns, hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.checks.partition import CheckedPartition


def check_documents(partition: CheckedPartition) -> Iterator[str]:
    """Every doc_id is the hash of the key and the content."""
    columns = ("doc_id", "content_hash", "key", "title", "text", "metadata")
    for doc_id, content, key, *parts in zip(*(partition.rows[name].to_pylist() for name in columns), strict=True):
        if content != content_hash(*parts) or doc_id != hash_text(key, content, salt=partition.salt):
            yield partition.problem(f"the doc_id of {key!r} is not the hash of its key and content")


def check_chunks(partition: CheckedPartition) -> Iterator[str]:
    """Every chunk is `text[start:end]` of its document, and its id the hash of where it is."""
    documents = partition.parent("documents", ["doc_id", "text"])
    texts = dict(zip(documents["doc_id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    rows = partition.rows
    arrays = [rows[name].to_numpy() for name in ("doc_id", "start", "end")]
    if not np.array_equal(hash_columns(arrays, salt=partition.salt), rows["chunk_id"].to_numpy()):
        yield partition.problem("a chunk_id is not the hash of its document and offsets")
    for doc_id, start, end, text in zip(*(array.tolist() for array in arrays), rows["text"].to_pylist(), strict=True):
        if doc_id in texts and texts[doc_id][start:end] != text:
            yield partition.problem(f"a chunk of document {doc_id} is not its text from {start} to {end}")


def check_pairs(partition: CheckedPartition) -> Iterator[str]:
    """Every target is in the field of its document, and every id the hash of what it is made of."""
    documents = partition.parent("documents", ["doc_id", "title", "text"])
    texts = {row["doc_id"]: row for row in documents.to_pylist()}
    rows = partition.rows
    if not np.array_equal(pair_ids(rows, salt=partition.salt), rows["pair_id"].to_numpy()):
        yield partition.problem("a pair_id is not the hash of its document, question and place")
    for row in rows.select(["doc_id", "field", "target"]).to_pylist():
        document, target = texts.get(row["doc_id"]), row["target"]
        if document is None:
            continue
        if target not in document["text"] if row["field"] == "body" else target != document["title"]:
            yield partition.problem(f"a target of document {row['doc_id']} is not its text or title")
