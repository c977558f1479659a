"""Verification of triples and mentions: their ids, and the chunks that they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.pipelines.stages.mentions import mentions
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


def check_triples(store: Store, chunks: Artifact, triples: Artifact, salt: str) -> Iterator[str]:
    """Triples stand in the order of their chunks, and every id is the hash of what it is made of."""
    place = f"{store.root}: triples partition {triples.label}"
    ids = _read(store, chunks, ["chunk_id"])["chunk_id"].to_numpy()
    table = _read(store, triples)
    chunk_ids, ordinals = table["chunk_id"].to_numpy(), table["ordinal"].to_numpy()
    order = np.argsort(ids)
    found = order[np.minimum(np.searchsorted(ids, chunk_ids, sorter=order), len(ids) - 1)]
    begins = np.append(True, chunk_ids[1:] != chunk_ids[:-1])[: len(chunk_ids)]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(chunk_ids)), 0))
    if (ids[found] != chunk_ids).any():
        yield f"{place}: a chunk_id is not in chunks; build again"
    elif (np.diff(found) < 0).any() or (ordinals != np.arange(len(ordinals)) - first).any():
        yield f"{place}: its rows are not in the order of the chunks; build again"
    if not np.array_equal(hash_columns([chunk_ids, ordinals], salt=salt), table["triple_id"].to_numpy()):
        yield f"{place}: a triple_id is not the hash of its chunk and place; build again"
    names = ("subject", "predicate", "object", "subject_id", "object_id", "fact_id")
    for subject, predicate, object_, *stored in zip(*(table[name].to_pylist() for name in names), strict=True):
        parts = normalize(subject), normalize(predicate), normalize(object_)
        expected = [entity_id(parts[0], salt=salt), entity_id(parts[2], salt=salt), fact_id(*parts, salt=salt)]
        if stored != expected:
            yield f"{place}: an id of {subject!r}, {predicate!r}, {object_!r} is not its hash; build again"


def check_mentions(store: Store, triples: Artifact, found: Artifact) -> Iterator[str]:
    """Mentions are those of the triples."""
    if not mentions(_read(store, triples)).equals(_read(store, found)):
        yield f"{store.root}: mentions partition {found.label} is not that of its triples; build again"


def check_names(store: Store, found: Artifact, table: str, salt: str) -> Iterator[str]:
    """Facts and entities stand by their ids, which are the hashes of their normal forms."""
    place = f"{store.root}: {table} partition {found.label}"
    rows = _read(store, found)
    column, *names = ("fact_id", "subject", "predicate", "object") if table == "facts" else ("entity_id", "normalized")
    ids = rows[column].to_numpy()
    if (np.diff(ids) <= 0).any():
        yield f"{place}: its rows are not in the order of their ids, each once; build again"
    hashed = fact_id if table == "facts" else entity_id
    for stored, *parts in zip(ids.tolist(), *(rows[name].to_pylist() for name in names), strict=True):
        if stored != hashed(*parts, salt=salt):
            yield f"{place}: an id of {' '.join(parts)!r} is not its hash; build again"


def _read(store: Store, artifact: Artifact, columns: list[str] | None = None) -> pa.Table:
    return parquet.read(store.files.local(artifact.file(".parquet").path), columns=columns)
