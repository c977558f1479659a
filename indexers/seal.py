"""Settings of a SEAL index: no files, only the n-gram index that it searches and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ModelRef, Ref, SearchOnly


class SealSettings(IndexSettings):
    """Settings of a SEAL index.

    Attributes:
        of: the n-gram index that is searched; the recipe's only one by default.
        model: the language model that writes keys: a path, a hub id, or `pkg:MODULE/FILE`. Its tokenizer is the n-gram
            index's. Without one, the n-grams of the question are the keys.
        score: `lm`, `lm_fm` or `intersective`, see `retrievers.seal.keys`.
        beams: of the search for keys.
        length: tokens of the longest key from a text.
        body_prompt: what the model continues with keys from texts; `{question}` stands for the question. By default
            what the model's kind suggests, see `retrievers.readers.seal_decoder.prompts_for`.
        title_prompt: what it continues with titles.
    """

    type: Literal["seal"] = "seal"
    of: Annotated[str | None, Ref("index", type="ngram", default="only")] = None
    model: Annotated[str | None, ModelRef(), SearchOnly()] = None
    score: Annotated[Literal["lm", "lm_fm", "intersective"], SearchOnly()] = "intersective"
    beams: Annotated[int, SearchOnly()] = Field(default=15, ge=1)
    length: Annotated[int, SearchOnly()] = Field(default=10, ge=1)
    body_prompt: Annotated[str | None, SearchOnly()] = None
    title_prompt: Annotated[str | None, SearchOnly()] = None

    @field_validator("body_prompt", "title_prompt")
    @classmethod
    def _has_the_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and "{question}" not in prompt:
            raise ValueError("a prompt must contain {question} in the place of the question")
        return prompt

    @model_validator(mode="after")
    def _the_model_scores(self) -> Self:
        if self.score == "lm" and self.model is None:
            raise ValueError("score lm needs a language model: set `model`, or use score intersective")
        return self
