"""Documents, chunks and vectors as calls."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.retrievers.answer import Answer
from mnemodex.retrievers.base import check
from mnemodex.retrievers.remote.calls import Call, Request, batches
from mnemodex.retrievers.remote.received import same_snapshot
from mnemodex.schemas.errors import LimitError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.remote.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the memory."""

    doc_id: int
    key: str
    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FetchedChunk:
    """A chunk of the memory with its document's key and metadata; `text` is `start:end` of the document's."""

    chunk_id: int
    doc_id: int
    key: str
    title: str
    text: str
    start: int
    end: int
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was asked for by keys or ids, in that order, and those of them that the memory lacks."""

    documents: list[Document]
    chunks: list[FetchedChunk]
    missing: list[str]


def fetch_call(catalogue: Catalogue, keys: Sequence[str] | None, chunk_ids: Sequence[int] | None) -> Call[Fetched]:
    """Return the call for documents by their keys, or for chunks by their ids.

    Raises:
        QueryError: both are given, or neither.
    """
    if (keys is None) == (chunk_ids is None):
        raise QueryError("fetch: takes keys or chunk_ids, and one of them. Call it twice for both")
    name = "chunk_ids" if keys is None else "keys"
    wanted = [str(int(number)) for number in chunk_ids or ()] if keys is None else check(keys, 1)

    def read(bodies: list[Any]) -> Fetched:
        if bodies:
            same_snapshot(bodies)
        documents = [_with_ids(row) for body in bodies for row in body["documents"]]
        chunks = [_with_ids(row) for body in bodies for row in body["chunks"]]
        missing = [one for body in bodies for one in body["missing"]]
        return Fetched([Document(**row) for row in documents], [FetchedChunk(**row) for row in chunks], missing)

    requests = [
        Request("/v1/fetch", {"memory": catalogue.name, name: list(batch)})
        for batch in batches(wanted, catalogue.limits)
    ]
    return Call(requests, read)


def sql_call(catalogue: Catalogue, query: str) -> Call[Answer]:
    """Return the call for the rows of a statement.

    Its reading raises `LimitError` where there are more than the server gives.
    """
    check([query], 1)

    def read(bodies: list[Any]) -> Answer:
        body = bodies[0]
        with pa.ipc.open_stream(base64.b64decode(body["arrow"])) as reader:
            table = reader.read_all()
        if body["truncated"]:
            raise LimitError(f"SQL: there are more rows than the {len(table):,} that the server gives. Add LIMIT")
        return Answer(table)

    return Call((Request("/v1/sql", {"memory": catalogue.name, "query": query, "form": "arrow"}),), read)


def embed_call(catalogue: Catalogue, embedding: str, texts: Sequence[str]) -> Call[Float32s]:
    """Return the call for the vectors of questions, float32 of shape (texts, dimension).

    Raises:
        QueryError: there is no such embedding.
    """
    dimension = catalogue.embedding(embedding).dimension

    def read(bodies: list[Any]) -> Float32s:
        rows = [vector for body in bodies for vector in body["vectors"]]
        return np.array(rows, np.float32).reshape(len(rows), dimension)

    body = {"memory": catalogue.name, "embedding": embedding}
    texts = check(texts, 1)
    return Call([Request("/v1/embed", {**body, "texts": list(b)}) for b in batches(texts, catalogue.limits)], read)


def _with_ids(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its ids as numbers."""
    return row | {name: int(row[name]) for name in ("doc_id", "chunk_id") if name in row}
