"""Settings of indexes over vectors, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ReadBy, RecipePath, Ref, RunOnly

Metric = Literal["ip", "l2"]
Order = Literal["shuffle", "lid_desc", "lid_asc", "cluster", "as_is"]
_MOST_REFINED = 1000
Refine = Literal["auto"] | Annotated[int, Field(ge=1, le=_MOST_REFINED)]


class VectorSettings(IndexSettings):
    """Settings of an index over vectors.

    Attributes:
        engine: the library that holds the graph or the lists.
        factory: `auto`, or any FAISS factory string whose index can be added to in batches.
        memory_budget: bytes that the index may take in memory while it is searched, as `2GB` or `500MiB`; then `auto`
            takes codes and `refine: auto` where vectors do not fit.
        refine: compare so many times as many hits as are wanted by the vectors on disk, and give the best of them; for
            a factory over codes. `auto` tunes it to the target recall together with the search parameter.
        metric: inner product or squared Euclidean distance (its score is negated, so that higher is better).
        m: links a node of an hnswlib graph.
        ef_construction: candidates kept while an hnswlib graph is built.
        order: insertion order of a graph (HNSW, hnswlib). Flat and inverted-list indexes answer alike in any order, so
            they keep the rows as they are, which reads the vectors from front to back.
        seed: of every sample and shuffle.
        target_recall: recall@10 that the search parameter is tuned to.
        shard_rows: rows of a shard, at most, where more than one partition goes into it. By default as many more of
            codes that a memory budget asks for as these are smaller than vectors.
    """

    engine: Literal["faiss", "hnswlib"] = "faiss"
    factory: str = "auto"
    # Both decide files, but only where they are given: see `DenseIndexer.identity`.
    memory_budget: Annotated[ByteSize, Field(gt=0), RunOnly()] | None = None
    refine: Annotated[Refine, RunOnly()] | None = None
    metric: Metric = "ip"
    m: Annotated[int, ReadBy("build")] = Field(default=16, ge=2, le=512)
    ef_construction: Annotated[int, ReadBy("build")] = Field(default=200, ge=1)
    order: Annotated[Order, ReadBy("build")] = "shuffle"
    seed: int = Field(default=0, ge=0)
    target_recall: Annotated[float, ReadBy("measure")] = Field(default=0.95, gt=0, le=1)
    shard_rows: Annotated[int, ReadBy("grouping")] = Field(default=1_000_000, ge=1)

    @field_validator("refine", mode="before")
    @classmethod
    def _factor_or_auto(cls, refine: Any) -> Any:
        # Before the union: each of its types would have a message of its own.
        number = isinstance(refine, int) and not isinstance(refine, bool) and 1 <= refine <= _MOST_REFINED
        if refine is not None and refine != "auto" and not number:
            raise ValueError(f"should be `auto`, or a whole number from 1 to {_MOST_REFINED}")
        return refine

    @model_validator(mode="after")
    def _options_fit_the_factory(self) -> Self:
        if self.memory_budget is not None and self.factory != "auto":
            raise ValueError("`memory_budget` is for factory auto, which chooses by it; leave one of them out")
        if self.refine is not None and self.factory == "auto" and self.engine == "faiss":
            raise ValueError("auto refines where `memory_budget` asks for it; leave `refine` out, or name a factory")
        return self

    @model_validator(mode="after")
    def _options_fit_the_engine(self) -> Self:
        # Values are compared with the defaults, not `model_fields_set`: settings that went through a manifest name
        # every field.
        faiss = self.engine == "faiss"
        remedy = "write M into the factory string, as in HNSW32" if faiss else "use m and ef_construction"
        for name in ("m", "ef_construction") if faiss else ("factory", "memory_budget", "refine"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` is no option of engine {self.engine}: {remedy}")
        return self


class DenseSettings(VectorSettings):
    """Settings of `type: dense`.

    Attributes:
        queries: path of a query file to measure recall with, or of `.npy` with vectors of questions; without it, rows
            that are held out of the index are used.
    """

    type: Literal["dense"] = "dense"
    embed: Annotated[str | None, Ref("embed")] = None
    queries: Annotated[str, RecipePath()] | None = None


class KnnLmSettings(VectorSettings):
    """Settings of `type: knn_lm`: those of any index over vectors, by squared Euclidean distance.

    Attributes:
        lm: name of the recipe's language model; the first one by default.
    """

    type: Literal["knn_lm"] = "knn_lm"
    lm: Annotated[str | None, Ref("lm")] = None
    metric: Literal["l2"] = "l2"
