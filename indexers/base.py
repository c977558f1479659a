"""What an indexer is, in FAISS's words: train on a sample, build a shard from partitions, merge shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path


class IndexSettings(BaseModel):
    """Settings of an index as the recipe gives them; every indexer has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: str


@dataclass(frozen=True, slots=True)
class InputPartition:
    """One partition of the table that an index is built over.

    Attributes:
        label: the partition's name in the table.
        rows: its number of rows.
        files: its files by ending: `parquet`, and for embeddings `npy` (float32 or float16 matrix of shape (rows, d)).
        beside: the partition of the same label of each table that `Indexer.beside` names.
    """

    label: str
    rows: int
    files: dict[str, Path]
    beside: dict[str, InputPartition] = field(default_factory=dict)


class Measured(Protocol):
    """What measuring an index gave."""

    @property
    def search(self) -> dict[str, Any]:
        """What the retriever searches with, for the manifest."""

    def to_json(self) -> dict[str, Any]:
        """For the manifest: at least `recall`, `k` and `reached` (whether it is the target or above)."""


class Indexer:
    """Turns table partitions into index files; a step that an index does not need is absent.

    The steps are `train(partitions, out)` where `needs_training`, `build(partitions, out)` for every shard (with
    `trained=` and `probes=` where these exist), `merge(shards, out)` where `merges`, and `measure(shards)`. A step
    writes files into the empty folder `out`, and nothing elsewhere; it returns facts worth keeping in the manifest,
    with `rows`. Steps run in worker processes, so they are given paths, never arrays.

    Args:
        settings: of the recipe, checked.
        rows: of the whole table.
        dimension: of its vectors; 0 where it has none.
    """

    version: ClassVar[int]
    """Part of every fingerprint: raised when the files or their content change."""
    Settings: ClassVar[type[IndexSettings]]
    id_column: ClassVar[str] = "chunk_id"
    """The ids that the index keeps, in `IDs.npy` (`chunk_ids.npy`) of each shard."""
    needs_training: bool = False
    merges: bool = False
    shard_rows: int = 1_000_000
    """Rows of the partitions that are built into one shard."""
    shard_bytes: int | None = None
    """Bytes of the Parquet files of these partitions, where rows do not tell how much there is in them."""

    def __init__(self, settings: Any, rows: int, dimension: int) -> None:
        self.settings = settings

    @staticmethod
    def check(settings: Any) -> None:
        """Refuse settings that their types cannot, before anything is built.

        Raises:
            RecipeError: names the setting and the remedy.
        """

    def setup(self, cpus: int) -> None:
        """Called once in a worker that may use so many CPUs, before any step."""

    @staticmethod
    def table(settings: Any) -> str | None:
        """The table that the index is built over; None for an index without files."""
        return "chunks"

    @staticmethod
    def model(settings: Any) -> str | None:
        """The model, by its key in the manifest, whose vectors are indexed; None where there are none."""
        return getattr(settings, "embed", None)

    @staticmethod
    def beside(settings: Any) -> tuple[str, ...]:
        """Further tables that a shard is built from; it keeps the `Rows` of each in a folder of the table's name."""
        return ()

    @staticmethod
    def searches(settings: Any) -> str | None:
        """The type of the one index that the setting `of` names; None where it names others, or there is no such key.

        Without a name it is the only index of that type in the recipe.
        """
        return None

    @staticmethod
    def whole(settings: Any) -> tuple[str, ...]:
        """Further tables that a shard is built from, all partitions of each: `build` is given them as `tables`."""
        return ()

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the files; those that only a search or a measurement reads are left out."""
        return dict(self.settings.model_dump(mode="json"))

    def measure(self, shards: list[Path]) -> Measured | None:
        """The recall of the finished shards; None for an index that is exact by construction of its scores."""
        return None
