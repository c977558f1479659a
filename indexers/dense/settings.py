"""The settings of a dense index, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ReadBy, RecipePath, Ref

Metric = Literal["ip", "l2"]
Order = Literal["shuffle", "lid_desc", "lid_asc", "cluster", "as_is"]


class VectorSettings(IndexSettings):
    """Settings of an index over vectors.

    Attributes:
        engine: the library that holds the graph or the lists.
        factory: `auto`, or any FAISS factory string whose index can be added to in batches.
        metric: inner product or squared Euclidean distance (its score is negated, so that higher is better).
        m: links a node of an hnswlib graph.
        ef_construction: candidates kept while an hnswlib graph is built.
        order: insertion order of a graph (HNSW, hnswlib). Flat and inverted-list indexes answer alike in any order, so
            they keep the rows as they are, which reads the vectors from front to back.
        seed: of every sample and shuffle.
        target_recall: recall@10 that the search parameter is tuned to.
        shard_rows: rows of a shard, at most, where more than one partition goes into it.
    """

    engine: Literal["faiss", "hnswlib"] = "faiss"
    factory: str = "auto"
    metric: Metric = "ip"
    m: Annotated[int, ReadBy("build")] = Field(default=16, ge=2, le=512)
    ef_construction: Annotated[int, ReadBy("build")] = Field(default=200, ge=1)
    order: Annotated[Order, ReadBy("build")] = "shuffle"
    seed: int = Field(default=0, ge=0)
    target_recall: Annotated[float, ReadBy("measure")] = Field(default=0.95, gt=0, le=1)
    shard_rows: Annotated[int, ReadBy("grouping")] = Field(default=1_000_000, ge=1)

    @model_validator(mode="after")
    def _options_fit_the_engine(self) -> Self:
        # Values are compared with the defaults, not `model_fields_set`: settings that went through a manifest name
        # every field.
        faiss = self.engine == "faiss"
        remedy = "write M into the factory string, as in HNSW32" if faiss else "use m and ef_construction"
        for name in ("m", "ef_construction") if faiss else ("factory",):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` is no option of engine {self.engine}: {remedy}")
        return self


class DenseSettings(VectorSettings):
    """Settings of `type: dense`.

    Attributes:
        queries: path of a query file to measure recall with; without it, rows that are held out of the index are used.
    """

    type: Literal["dense"] = "dense"
    embed: Annotated[str | None, Ref("embed")] = None
    queries: Annotated[str, RecipePath()] | None = None
