"""What an indexer is, in FAISS's words: train on a sample, build a shard from partitions, merge shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict


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
    """

    label: str
    rows: int
    files: dict[str, Path]


class Indexer(Protocol):
    """Turns table partitions into index files; a step that an index does not need is absent from `steps`.

    Every step writes files into the empty folder `out`, and nothing elsewhere; it returns a JSON object of facts worth keeping in the
    manifest (rows, timings, what was chosen). Steps run in worker processes, so they are given paths, never arrays.
    """

    version: ClassVar[int]
    """Part of every fingerprint: raise it when the files or their content change."""

    def build(self, partitions: list[InputPartition], out: Path) -> dict[str, Any]:
        """Build one shard over some partitions."""
