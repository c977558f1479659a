"""Purged documents: no file of the memory holds them, and no later build reads them of the source again.

What is left of each is a hash of its key. Partitions of documents as they were read were rewritten without them, and
go on being found by what they are read of.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mnemodex.pipelines.documents.changes import layer_of
from mnemodex.schemas.manifest import Stats, fingerprint
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_table
from mnemodex.schemas.tables import DOCUMENTS, PURGES, READ_DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.store.store import Store


class PurgeStats(Stats):
    """What a purge did to documents as they were read.

    Attributes:
        rewritten: the fingerprints of their partitions before, and of those without the documents.
    """

    rewritten: dict[str, str] = Field(default_factory=dict)


def hash_key(key: str) -> str:
    """Return 128 bits of BLAKE2b of a document's key, in hexadecimal digits."""
    data = key.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16, person=b"mnemodex purge").hexdigest()


def read_hashes(store: Store, places: Sequence[str]) -> frozenset[str]:
    """Return the hashes of the keys that were purged."""
    found: set[str] = set()
    for place in places:
        artifact = store.checked(place)
        found.update(parquet.read(store.files.local(artifact.file(".parquet")))["key_hash"].to_pylist())
    return frozenset(found)


def rewritten_names(purges: Sequence[Artifact]) -> dict[str, str]:
    """Return the fingerprints of partitions that purges rewrote, and those that they have now."""
    found: dict[str, str] = {}
    for artifact in purges:
        found |= artifact.stats.of(PurgeStats).rewritten
    return found


def read_partitions(store: Store, manifest: Manifest) -> Iterator[tuple[Artifact, pa.Array]]:
    """Yield the partitions of documents as they were read of the source, and their keys."""
    for part in manifest.caches[READ_DOCUMENTS.path].partitions:
        if not layer_of(part.label):
            yield part, parquet.read(store.files.local(part.file(".parquet")), columns=["key"])["key"].combine_chunks()


def rewrite(store: Store, manifest: Manifest, keys: pa.Array) -> dict[str, Artifact]:
    """Write the partitions that have documents of some keys without them; return these by the places of the former."""
    table = documents_spec(manifest.tables[DOCUMENTS.label].fields)
    found: dict[str, Artifact] = {}
    for part, own in read_partitions(store, manifest):
        named = pc.is_in(own, value_set=keys)
        if not pc.any(named).as_py():
            continue
        attempt = store.files.attempt()
        rows = parquet.read(store.files.local(part.file(".parquet"))).filter(pc.invert(named))
        parquet.write(attempt / "data.parquet", table, rows.combine_chunks().to_batches())
        hashes = sorted(map(hash_key, own.filter(named).to_pylist()))
        name = fingerprint(part.fingerprint, hashes)
        found[part.place] = store.publish(
            attempt, READ_DOCUMENTS.path, part.label, name, rows=len(rows), stats=part.stats, also=part.also
        )
    return found


def write_purge(store: Store, keys: Sequence[str], rewritten: Mapping[str, Artifact]) -> Artifact:
    """Write the hashes of purged keys, and what was rewritten for them; return the partition."""
    hashes = sorted(map(hash_key, keys))
    names = {place.rpartition("-")[2]: part.fingerprint for place, part in rewritten.items()}
    attempt = store.files.attempt()
    table = spec_of(PURGES)
    parquet.write(attempt / "data.parquet", table, to_table([hashes], table.schema).to_batches())
    name = fingerprint(hashes, names)
    return store.publish(
        attempt, PURGES.path, f"purge-{name}", name, rows=len(hashes), stats=PurgeStats(rewritten=names)
    )
