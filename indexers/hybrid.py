"""Settings of a hybrid index: no files, only the names of the indexes whose answers it fuses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import Ref, SearchOnly


class HybridSettings(IndexSettings):
    """Settings of a hybrid index.

    Attributes:
        of: the names of at least two other indexes of the recipe.
        constant: the k of reciprocal rank fusion; larger values flatten the weight of the first ranks.
        depth: how many hits of each index are fused, or k where that is more.
    """

    type: Literal["hybrid"] = "hybrid"
    of: tuple[Annotated[str, Ref("index", default="none")], ...] = Field(min_length=2)
    constant: Annotated[float, SearchOnly()] = Field(default=60.0, gt=0)
    depth: Annotated[int, SearchOnly()] = Field(default=100, ge=1)
