"""The next-token datastore of kNN-LM: a language model's states in a dense index, and the tokens that came next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.dense.probe import Probe, merge_probes
from mnemodex.indexers.dense.settings import VectorSettings
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.base import IndexSettings, InputPartition
    from mnemodex.indexers.dense.recall import Recall

VALUES = "values.npy"


class KnnLmSettings(VectorSettings):
    """Settings of `type: knn_lm`: those of any index over vectors, by squared Euclidean distance.

    Attributes:
        lm: name of the recipe's language model; the first one by default.
    """

    type: Literal["knn_lm"] = "knn_lm"
    lm: str | None = None
    metric: Literal["l2"] = "l2"


@dataclass(frozen=True, slots=True)
class DatastoreMeasure:
    """What measuring a datastore gave.

    Attributes:
        recall: as of any dense index.
        scale: see `distance_scale`.
    """

    recall: Recall
    scale: float

    @property
    def search(self) -> dict[str, Any]:
        """What the retriever searches with, and the scale."""
        return {**self.recall.search, "scale": self.scale}

    def to_json(self) -> dict[str, Any]:
        """The recall, for the manifest."""
        return self.recall.to_json()


class KnnLmIndexer(DenseIndexer):
    """Builds the shards of a datastore (kNN-LM; Khandelwal et al., 2020).

    They are those of a dense index over the states' keys, with positions for ids, and `values.npy`: the token that came
    next, int32 of shape (rows,), for each position of the index.
    """

    version: ClassVar[int] = 1
    Settings: ClassVar[type[IndexSettings]] = KnnLmSettings
    id_column: ClassVar[str] = "position"

    @staticmethod
    def table(settings: Any) -> str:
        """The language model's states."""
        return f"lm_states/{settings.lm}"

    @staticmethod
    def model(settings: Any) -> str:
        """See `Indexer.model`."""
        return f"lm/{settings.lm}"

    def build(
        self,
        partitions: Sequence[InputPartition],
        out: Path,
        *,
        trained: Path | None = None,
        probes: Path | None = None,
    ) -> dict[str, Any]:
        """See `DenseIndexer.build`."""
        facts = super().build(partitions, out, trained=trained, probes=probes)
        columns = [parquet.read(part.files["parquet"], columns=["value"])["value"].to_numpy() for part in partitions]
        starts = np.cumsum([0, *map(len, columns)])
        rows = Rows.open(out, id_column=self.id_column)
        values = np.concatenate([*columns, np.zeros(0, np.int32)]).astype(np.int32)
        np.save(out / VALUES, values[starts[rows.partition] + rows.row], allow_pickle=False)
        return facts

    def merge(self, shards: Sequence[Path], out: Path) -> dict[str, Any]:
        """See `DenseIndexer.merge`."""
        facts = super().merge(shards, out)
        np.save(out / VALUES, np.concatenate([open_values(shard) for shard in shards]), allow_pickle=False)
        return facts

    def measure(self, shards: Sequence[Path]) -> DatastoreMeasure:  # type: ignore[override] # a recall and more
        """The recall of all shards searched together, and what distances in them are like."""
        probe = merge_probes([Probe.load(shard) for shard in shards])
        return DatastoreMeasure(super().measure(shards), distance_scale(probe))


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
