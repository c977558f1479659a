"""The recipe's section `ngram_pairs`: what a model is fine-tuned on to write n-grams."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mnemodex.schemas.embedding import DEFAULT_MODEL
from mnemodex.schemas.spec import ModelRef, RecipePath, Spec


class NgramPairs(Spec):
    """Training pairs of questions and n-grams of the documents that answer them (SEAL; Bevilacqua et al., 2022).

    Attributes:
        tokenizer: the model that will be fine-tuned, or any with its `tokenizer.json`.
        queries: a query file with `gold_ids`; without one there are unsupervised pairs only.
        length: tokens of an n-gram.
        per_query: n-grams for each question and each of its gold documents, beside the title.
        unsupervised: spans of every document that take the place of questions. Off by default: where there are
            questions, they are what the model will be asked, and the spans grow with the corpus instead of with the
            questions.
        seed: changes the choice of n-grams.
    """

    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL
    queries: Annotated[str, RecipePath()] | None = Field(default=None, min_length=1)
    length: int = Field(default=10, ge=1)
    per_query: int = Field(default=10, ge=1)
    unsupervised: int = Field(default=0, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _something_to_do(self) -> NgramPairs:
        if self.queries is None and not self.unsupervised:
            raise ValueError("nothing to make pairs of; give `queries: FILE`, or `unsupervised` of 1 or more")
        return self
