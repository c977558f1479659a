"""Synonyms: pairs of entities with nearly the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.graph.synonyms import Synonyms, comparable, pairs, strongest
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ENTITIES, SYNONYMS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_BATCH = 65_536
_SCHEMA = spec_of(SYNONYMS).schema


class SynonymSettings(Spec):
    """The cosine from which on two names are synonyms."""

    threshold: float


class SynonymStats(Stats):
    """Entities that were compared with all others."""

    compared: int = 0


class SynonymsOp(Op):
    """Finds pairs of entities whose names mean nearly the same; the inputs are entities and their vectors.

    Pairs of which both ends were in the current snapshot are taken over from it, where the same model and threshold
    made them.
    """

    Settings: ClassVar[type[Spec]] = SynonymSettings
    seconds_per_megabyte: ClassVar[float] = 2.0
    settings: SynonymSettings

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`."""
        entities = pa.concat_tables(
            [parquet.read(part.files["parquet"], columns=["entity_id", "normalized"]) for part in inputs.partitions(0)]
        ).combine_chunks()
        ids = entities["entity_id"].to_numpy()
        vectors = _vectors(inputs)
        known, there = self._known(inputs, ids)
        compared = comparable(entities["normalized"].chunk(0)) if len(ids) else np.zeros(0, np.bool_)
        new, old = np.flatnonzero(compared & ~there), np.flatnonzero(compared & there)
        parts = [known, *pairs(vectors, new, old, self.settings.threshold)]
        left, right, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((right, left))
        found = Synonyms(left[order], right[order], cosine[order])
        columns = (ids[found.left], ids[found.right], found.cosine, strongest(found, len(ids)))
        output.write(spec_of(SYNONYMS), _batches(columns))
        return SynonymStats(compared=len(new), reused=len(known.left))

    def _known(self, inputs: Inputs, ids: NDArray[np.int64]) -> tuple[Synonyms, NDArray[np.bool_]]:
        """Return the current pairs of entities that are still there, and which entities were there."""
        none = np.zeros(0, np.int32)
        entities, synonyms = inputs.former_of(ENTITIES.label).partitions(), inputs.former.partitions()
        if not entities or not synonyms:
            return Synonyms(none, none, np.zeros(0, np.float32)), np.zeros(len(ids), np.bool_)
        there = np.concatenate([parquet.read(path, columns=["entity_id"])["entity_id"].to_numpy() for path in entities])
        rows = pa.concat_tables([parquet.read(path, columns=["source_id", "target_id", "weight"]) for path in synonyms])
        ends = [rows[name].to_numpy() for name in ("source_id", "target_id")]
        kept = np.isin(ends[0], ids) & np.isin(ends[1], ids)
        left, right = (np.searchsorted(ids, end[kept]).astype(np.int32) for end in ends)
        return Synonyms(left, right, rows["weight"].to_numpy()[kept]), np.isin(ids, there)


def _vectors(inputs: Inputs) -> NDArray[np.float32]:
    """Return the vectors of all partitions; those of a single one, as it mostly is, stay on disk."""
    parts = [np.load(part.files["npy"], mmap_mode="r", allow_pickle=False) for part in inputs.partitions(1)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _batches(columns: tuple[NDArray[Any], ...]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(columns[0]), _BATCH):
        arrays = [pa.array(column[start : start + _BATCH]) for column in columns]
        yield pa.record_batch(arrays, schema=_SCHEMA)
