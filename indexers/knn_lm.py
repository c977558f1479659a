"""The next-token datastore of kNN-LM: a language model's states in a dense index, and the tokens that came next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from mnemodex.indexers.dense.indexer import DenseIndexer, DenseStats
from mnemodex.indexers.dense.probe import Probe, merge_probes
from mnemodex.indexers.dense.settings import VectorSettings
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.spec import Ref
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.dense.recall import MeasuredRecall

VALUES = "values.npy"


class KnnLmSettings(VectorSettings):
    """Settings of `type: knn_lm`: those of any index over vectors, by squared Euclidean distance.

    Attributes:
        lm: name of the recipe's language model; the first one by default.
    """

    type: Literal["knn_lm"] = "knn_lm"
    lm: Annotated[str | None, Ref("lm")] = None
    metric: Literal["l2"] = "l2"


class KnnLmIndexer(DenseIndexer):
    """Builds the shards of a datastore (kNN-LM; Khandelwal et al., 2020).

    They are those of a dense index over the states' keys, with positions for ids, and `values.npy`: the token that came
    next, int32 of shape (rows,), for each position of the index.
    """

    version: ClassVar[int] = 1
    id_column: ClassVar[str] = "position"

    @staticmethod
    def table(settings: Any) -> TableKey:
        """See `Indexer`: the language model's states."""
        return TableKey("lm_states", settings.lm)

    @staticmethod
    def vectors(settings: Any) -> TableKey:
        """See `Indexer`."""
        return TableKey("lm_states", settings.lm)

    def build(
        self,
        partitions: Sequence[InputPartition],
        out: Path,
        *,
        trained: Path | None = None,
        probes: Path | None = None,
    ) -> DenseStats:
        """See `DenseIndexer.build`."""
        stats = super().build(partitions, out, trained=trained, probes=probes)
        columns = [parquet.read(part.files["parquet"], columns=["value"])["value"].to_numpy() for part in partitions]
        starts = np.cumsum([0, *map(len, columns)])
        rows = Rows.open(out, id_column=self.id_column)
        values = np.concatenate([*columns, np.zeros(0, np.int32)]).astype(np.int32)
        np.save(out / VALUES, values[starts[rows.partition] + rows.row], allow_pickle=False)
        return stats

    def merge(self, shards: Sequence[Path], out: Path) -> DenseStats:
        """See `DenseIndexer.merge`."""
        stats = super().merge(shards, out)
        np.save(out / VALUES, np.concatenate([open_values(shard) for shard in shards]), allow_pickle=False)
        return stats

    def measure(self, shards: Sequence[Path]) -> MeasuredRecall:
        """See `DenseIndexer`; the search parameters have the scale of distances too."""
        measured = super().measure(shards)
        scale = distance_scale(merge_probes([Probe.load(shard) for shard in shards]))
        return measured._replace(search=measured.search.model_copy(update={"scale": scale}))


def open_values(shard: Path) -> NDArray[np.int32]:
    """Map the tokens of a shard, whose checksum the caller has verified."""
    values: NDArray[np.int32] = np.load(shard / VALUES, mmap_mode="r", allow_pickle=False)
    return values


def distance_scale(probe: Probe) -> float:
    """The natural unit of a temperature: a third of how much farther the tenth neighbour is than the first, by median.

    The third is what fitted best on two corpora (0.30 of the difference on each). Distances are squared, so that they
    depend on the model's dimension and on which of its vectors are the keys; what matters to a softmax is how they
    differ among neighbours. Probes with equal distances do not count; 1 without any.
    """
    distances = -np.where(np.isfinite(probe.exact_scores), probe.exact_scores, np.nan)
    if not np.isfinite(distances).any():
        return 1.0
    there = distances[np.isfinite(distances).any(axis=1)]
    spread = np.nanmax(there, axis=1) - np.nanmin(there, axis=1)
    spread = spread[spread > 0]
    return float(np.median(spread)) / 3 if len(spread) else 1.0
