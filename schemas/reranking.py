"""How the first pairs that a search finds are scored again."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnemodex.schemas.spec import ModelRef, Spec


class PairReranking(Spec):
    """How the first pairs that are found are scored again, and sorted by it.

    Attributes:
        by: `similarity` for the mean of a pair's score and the similarity of the query to its question and answers
            together, by vectors that the build makes; `cross_encoder` for a model that reads both at once.
        model: that model, of sentence-transformers: a path, a hub id, or `pkg:MODULE/FOLDER`.
        depth: how many pairs are scored again, or k where that is more.
    """

    by: Literal["similarity", "cross_encoder"] = "similarity"
    model: Annotated[str, ModelRef()] | None = None
    depth: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _the_model_reranks(self) -> Self:
        if self.by == "cross_encoder" and self.model is None:
            raise ValueError("by cross_encoder needs a model: set `model`, or use by similarity")
        if self.by == "similarity" and self.model is not None:
            raise ValueError("`model` is for by cross_encoder: similarity is by the index's own encoder")
        return self
