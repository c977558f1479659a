"""Corrections: the rows of tables that change when documents are left out, which stay in the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.graph.corrections import correct_graph
from mnemodex.pipelines.qa.corrections import PairCorrections
from mnemodex.retrievers.corrections import CorrectionStats
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.local_files import sha256
from mnemodex.schemas.table import TableSpec
from mnemodex.schemas.tables import CORRECTIONS, QA_PAIRS, TRIPLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pyarrow as pa

    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.tables import TableKey


def write_corrections(store: Store, manifest: Manifest, ids: Tombstones, passed: Mapping[str, Any]) -> list[Artifact]:
    """Publish the rows of a graph and of questions that change or go with what is left out; nothing without these.

    `passed` are the encoders that were passed to `build`, by the names of their embeddings.
    """
    rows: dict[TableKey, pa.Table] = {}
    counts: dict[str, int] = {}
    if TRIPLES.label in manifest.tables:
        rows, counts = correct_graph(store, manifest, ids.chunk_id)
    if QA_PAIRS.label in manifest.tables:
        pairs = PairCorrections(store, manifest, ids, passed)
        rows, counts = rows | pairs.rows(), counts | {"qa_pairs": pairs.left_out}
    if not rows:
        return []
    attempt = store.files.attempt()
    paths = {key: attempt / f"{key.label}.parquet" for key in rows}
    for key, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write(path, TableSpec(rows[key].schema), rows[key].combine_chunks().to_batches())
    stats = CorrectionStats(**counts)
    made = fingerprint([sha256(path) for path in paths.values()], stats.model_dump(exclude_defaults=True))
    count = len(ids.chunk_id)
    return [store.publish(attempt, CORRECTIONS.path, "all", made, rows=count, stats=stats, as_folder=True)]
