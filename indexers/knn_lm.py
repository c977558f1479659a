"""The next-token datastore of kNN-LM: a language model's states in a dense index, and the tokens that came next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import save_arrays
from mnemodex.indexers.dense.indexer import DenseIndexer, DenseStats
from mnemodex.indexers.dense.probe import Probe, merge_probes
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.base import InputPartition, Measured


class KnnLmIndexer(DenseIndexer):
    """Builds the shards of a datastore (kNN-LM; Khandelwal et al., 2020).

    They are those of a dense index over the states' keys, with positions for ids, and `values.npy`: the token that came
    next, int32 of shape (rows,), for each position of the index.
    """

    version: ClassVar[int] = 1
    id_column: ClassVar[str] = "position"

    @staticmethod
    @override
    def vectors(settings: Any) -> TableKey:
        return TableKey("lm_states", settings.lm)

    @override
    def build(self, partitions: Sequence[InputPartition], out: Path, **extras: Path | None) -> DenseStats:
        stats = super().build(partitions, out, **extras)
        columns = [parquet.column(part.files["parquet"], "value") for part in partitions]
        starts = np.cumsum([0, *map(len, columns)])
        rows = Rows.open(out, id_column=self.id_column)
        values = np.concatenate([*columns, np.zeros(0, np.int32)]).astype(np.int32)
        save_arrays(out, values=values[starts[rows.partition] + rows.row])
        return stats

    @override
    def measure(self, shards: Sequence[Path]) -> Measured:
        # The search parameters have the scale of distances too.
        measured = super().measure(shards)
        scale = distance_scale(merge_probes([Probe.load(shard) for shard in shards]))
        search = measured.search.model_copy(update={"scale": scale})
        return measured.model_copy(update={"search": search})


def distance_scale(probe: Probe) -> float:
    """Return the natural unit of a temperature: a third of how much farther the tenth neighbour is, by median.

    The third is what fitted best on two corpora (0.30 of the difference on each). Distances are squared, so that they
    depend on the model's dimension and on which of its vectors are the keys; what matters to a softmax is how they
    differ among neighbours. Probes with equal distances do not count; 1 without any.
    """
    distances = -np.where(np.isfinite(probe.exact_scores), probe.exact_scores, np.nan)
    distances = distances[np.isfinite(distances).any(axis=1)]
    if not len(distances):
        return 1.0
    spread = np.nanmax(distances, axis=1) - np.nanmin(distances, axis=1)
    spread = spread[spread > 0]
    return float(np.median(spread)) / 3 if len(spread) else 1.0
