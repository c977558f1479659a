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
    """Check that every doc_id is the hash of the key and the content."""
    columns = ("doc_id", "content_hash", "key", "title", "text", "metadata")
    for doc_id, content, key, *parts in partition.tuples(*columns):
        if content != content_hash(*parts) or doc_id != hash_text(key, content, salt=partition.salt):
            yield partition.problem(f"the doc_id of {key!r} is not the hash of its key and content")


def check_chunks(partition: CheckedPartition) -> Iterator[str]:
    """Check that every chunk is `text[start:end]` of its document, and its id the hash of its place."""
    texts = {row["doc_id"]: row["text"] for row in partition.parent("documents", ["doc_id", "text"]).to_pylist()}
    hashed = [partition.rows[name].to_numpy() for name in ("doc_id", "start", "end")]
    if not np.array_equal(hash_columns(hashed, salt=partition.salt), partition.rows["chunk_id"].to_numpy()):
        yield partition.problem("a chunk_id is not the hash of its document and offsets")
    for doc_id, start, end, text in partition.tuples("doc_id", "start", "end", "text"):
        if doc_id in texts and texts[doc_id][start:end] != text:
            yield partition.problem(f"a chunk of document {doc_id} is not its text from {start} to {end}")


def check_pairs(partition: CheckedPartition) -> Iterator[str]:
    """Check that every target is in the field of its document, and every id the hash of its pair."""
    documents = {row["doc_id"]: row for row in partition.parent("documents", ["doc_id", "title", "text"]).to_pylist()}
    if not np.array_equal(pair_ids(partition.rows, salt=partition.salt), partition.rows["pair_id"].to_numpy()):
        yield partition.problem("a pair_id is not the hash of its document, question and place")
    for doc_id, field, target in partition.tuples("doc_id", "field", "target"):
        document = documents.get(doc_id, {"title": target, "text": target})
        if target not in document["text"] if field == "body" else target != document["title"]:
            yield partition.problem(f"a target of document {doc_id} is not its text or title")
