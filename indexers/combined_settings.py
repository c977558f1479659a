"""Settings of indexes that are made of others, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mnemodex.schemas.ages import parse_age
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ModelRef, RecipePath, Ref, SearchOnly, Spec

Weight = Annotated[float, Field(ge=0)]
FieldName = Annotated[str, Field(min_length=1, max_length=100)]


def _is_half_life(text: str) -> str:
    if not parse_age(text):
        raise ValueError("a half-life is longer than 0")
    return text


HalfLife = Annotated[str, AfterValidator(_is_half_life)]


class Ageing(Spec):
    """How hits of an index lose weight with the age of their documents.

    Attributes:
        field: the field of documents with their times, declared as `timestamp` or `date` in `source.metadata`.
        half_life: the age at which half of a hit's weight is left, as `30d` or `12h`.
    """

    field: str
    half_life: HalfLife


class HybridSettings(IndexSettings):
    """Settings of a hybrid index.

    Attributes:
        of: the names of at least two other indexes of the recipe; one of pairs gives the chunks of these.
        fuse: `rrf` adds one over the rank of a hit in each index; `scores` adds its standardised scores.
        weights: of the indexes, in the order of `of`; equal ones by default. With `auto`, for `scores` only, they
            follow from the scores of each question, or are fitted on `queries`.
        queries: a query file with gold, on which weights are fitted once, in the build.
        constant: the k of reciprocal rank fusion; larger values flatten the weight of the first ranks.
        depth: how many hits of each index are fused, or k where that is more.
        recency: whether older hits have less weight, see the kind `recency`: of so many fused hits.
    """

    type: Literal["hybrid"] = "hybrid"
    of: tuple[Annotated[str, Ref("index", default="none", hits=("chunk", "pair"))], ...] = Field(min_length=2)
    fuse: Annotated[Literal["rrf", "scores"], SearchOnly()] = "rrf"
    weights: Annotated[tuple[Weight, ...] | Literal["auto"] | None, SearchOnly()] = None
    queries: Annotated[str | None, RecipePath()] = None
    constant: Annotated[float, SearchOnly()] = Field(default=60.0, gt=0)
    depth: Annotated[int, SearchOnly()] = Field(default=100, ge=1)
    recency: Annotated[Ageing | None, SearchOnly()] = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if isinstance(self.weights, tuple):
            if len(self.weights) != len(self.of):
                raise ValueError(f"`weights` has {len(self.weights)} numbers for {len(self.of)} indexes; give one each")
            if not any(self.weights):
                raise ValueError("`weights` are all 0, so that nothing would be found; raise one of them")
        if self.weights == "auto" and self.fuse != "scores":
            raise ValueError("`weights: auto` needs scores; add `fuse: scores`")
        if self.queries is not None and self.weights != "auto":
            raise ValueError("`queries` is what weights are fitted on; add `weights: auto`, or leave `queries` out")
        return self

    @property
    def is_fitted(self) -> bool:
        """Whether a build fits its weights."""
        return self.queries is not None


class RerankSettings(IndexSettings):
    """Settings of an index whose hits are those of another one, scored again.

    Attributes:
        of: the name of another index of the recipe; one of pairs gives the chunks of these.
        model: a cross-encoder of sentence-transformers: a path, a hub id, or `pkg:MODULE/FOLDER`.
        depth: how many hits of a question are scored, or k where that is more.
    """

    type: Literal["rerank"] = "rerank"
    of: Annotated[str, Ref("index", default="none", hits=("chunk", "pair"))]
    model: Annotated[str, ModelRef(), SearchOnly()]
    depth: Annotated[int, SearchOnly()] = Field(default=50, ge=1)


class RecencySettings(IndexSettings):
    """Settings of an index whose hits are those of another one, older ones with less weight.

    Attributes:
        of: the name of another index of the recipe; one of pairs gives the chunks of these.
        field: the field of documents with their times, declared as `timestamp` or `date` in `source.metadata`.
        half_life: the age at which half of a hit's weight is left, as `30d` or `12h`.
        depth: how many hits of a question are weighed, or k where that is more.
    """

    type: Literal["recency"] = "recency"
    of: Annotated[str, Ref("index", default="none", hits=("chunk", "pair"))]
    field: Annotated[str, SearchOnly()]
    half_life: Annotated[HalfLife, SearchOnly()]
    depth: Annotated[int, SearchOnly()] = Field(default=100, ge=1)


class ContiguitySettings(IndexSettings):
    """Settings of a contiguity index.

    Attributes:
        of: the index whose hits raise the scores of their neighbours; one of pairs gives the chunks of these.
        before: how many places before a hit gain from it.
        after: how many places after it.
        decay: the part of a hit's excess that the next place gains; its square the one after, and so on.
        within: fields of documents whose values are equal in a sequence; by default a sequence is a document.
        order: the field of documents that a sequence is ordered by; by default the order of the source.
        depth: how many hits of the index are looked at, or k where that is more.
        recency: whether older hits have less weight, see the kind `recency`: of so many hits, neighbours among them.
    """

    type: Literal["contiguity"] = "contiguity"
    of: Annotated[str, Ref("index", default="none", hits=("chunk", "pair"))]
    before: Annotated[int, SearchOnly()] = Field(default=2, ge=0, le=100)
    after: Annotated[int, SearchOnly()] = Field(default=2, ge=0, le=100)
    decay: Annotated[float, SearchOnly()] = Field(default=0.5, gt=0, le=1)
    within: tuple[FieldName, ...] = ()
    order: FieldName | None = None
    depth: Annotated[int, SearchOnly()] = Field(default=100, ge=1)
    recency: Annotated[Ageing | None, SearchOnly()] = None
