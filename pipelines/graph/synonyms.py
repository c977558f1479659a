"""Synonyms: pairs of entities with nearly the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import are_among
from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.synonyms import Synonyms, comparable, find_pairs, strongest
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ENTITIES, SYNONYMS, spec_of

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


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

    Settings = SynonymSettings
    seconds_per_megabyte = 2.0
    settings: SynonymSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        columns = ["entity_id", "normalized"]
        parts = [parquet.read(part.files["parquet"], columns=columns) for part in inputs.partitions(0)]
        entities = pa.concat_tables(parts).combine_chunks()
        ids = entities["entity_id"].to_numpy()
        vectors = _Vectors(inputs, ids)
        former, is_former = _former_pairs(inputs, ids)
        compared = comparable(entities["normalized"].chunk(0)) if len(ids) else np.zeros(0, np.bool_)
        new, old = np.flatnonzero(compared & ~is_former), np.flatnonzero(compared & is_former)
        found = [former, *find_pairs(vectors, new, old, self.settings.threshold)]
        left, right, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
        # Two names may share several cells.
        _, order = np.unique(left.astype(np.int64) << 32 | right, return_index=True)
        synonyms = Synonyms(left[order], right[order], cosine[order])
        rows = [ids[synonyms.left], ids[synonyms.right], synonyms.cosine, strongest(synonyms, len(ids))]
        spec = spec_of(SYNONYMS)
        output.write(spec, pa.table(rows, schema=spec.schema))
        return SynonymStats(compared=len(new), reused=len(former.left))


class _Vectors:
    """The vectors of entities, by the entities' numbers: mapped, in partitions that are in another order."""

    def __init__(self, inputs: Inputs, ids: Int64s) -> None:
        parts = inputs.partitions(1)
        dimension = max((part.stats.dimension for part in parts), default=0)
        self._vectors = Vectors.of(parts, dimension=dimension)
        self._rows = np.empty(len(ids), np.int64)
        self._rows[np.searchsorted(ids, inputs.ids(1, "entity_id"))] = np.arange(len(ids))

    def __getitem__(self, numbers: Int64s) -> Float32s:
        return self._vectors.take(self._rows[numbers])


def _former_pairs(inputs: Inputs, ids: Int64s) -> tuple[Synonyms, Bools]:
    """Return the current snapshot's pairs of which both entities remain, and which entities it has."""
    entities, synonyms = inputs.former_of(ENTITIES.label).partitions(), inputs.former.partitions()
    if not entities or not synonyms:
        none = np.zeros(0, np.int32)
        return Synonyms(none, none, np.zeros(0, np.float32)), np.zeros(len(ids), np.bool_)
    former = np.concatenate([parquet.column(path, "entity_id") for path in entities])
    rows = pa.concat_tables([parquet.read(path, columns=["source_id", "target_id", "weight"]) for path in synonyms])
    source, target = rows["source_id"].to_numpy(), rows["target_id"].to_numpy()
    remain = are_among(source, ids) & are_among(target, ids)
    left, right = (np.searchsorted(ids, end[remain]).astype(np.int32) for end in (source, target))
    return Synonyms(left, right, rows["weight"].to_numpy()[remain]), are_among(ids, former)
