"""The hybrid index: no files, only the names of the indexes whose answers it fuses."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mnemodex.indexers.base import Indexer, IndexSettings


class HybridSettings(IndexSettings):
    """Settings of a hybrid index.

    Attributes:
        of: the names of at least two other indexes of the recipe.
        constant: the k of reciprocal rank fusion; larger values flatten the weight of the first ranks.
        depth: how many hits of each index are fused, or k where that is more.
    """

    type: Literal["hybrid"] = "hybrid"
    of: tuple[str, ...] = Field(min_length=2)
    constant: float = Field(default=60.0, gt=0)
    depth: int = Field(default=100, ge=1)


class HybridIndexer(Indexer):
    """Builds nothing."""

    version: ClassVar[int] = 1
    Settings: ClassVar[type[HybridSettings]] = HybridSettings

    @staticmethod
    def table(settings: HybridSettings) -> None:
        """None: a hybrid index has no files."""
