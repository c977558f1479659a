"""The SEAL index: no files, only the n-gram index that it searches and how."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from mnemodex.indexers.base import Indexer, IndexSettings
from mnemodex.indexers.models import locate


class SealSettings(IndexSettings):
    """Settings of a SEAL index.

    Attributes:
        of: the n-gram index that is searched; the recipe's only one by default.
        model: the language model that writes keys: a path, a hub id, or `pkg:MODULE/FILE`. Its tokenizer is the n-gram
            index's. Without one, the n-grams of the question are the keys.
        score: `lm`, `lm_fm` or `intersective`, see `retrievers.seal.weights`.
        beams: of the search for keys.
        length: tokens of the longest key from a text.
        body_prompt: what the model continues with keys from texts; `{question}` stands for the question. By default
            what the model's kind suggests, see `retrievers.readers.seal_decoder.prompts_for`.
        title_prompt: what it continues with titles.
    """

    type: Literal["seal"] = "seal"
    of: str | None = None
    model: str | None = None
    score: Literal["lm", "lm_fm", "intersective"] = "intersective"
    beams: int = Field(default=15, ge=1)
    length: int = Field(default=10, ge=1)
    body_prompt: str | None = None
    title_prompt: str | None = None

    @field_validator("body_prompt", "title_prompt")
    @classmethod
    def _has_the_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and "{question}" not in prompt:
            msg = "a prompt must say where the question stands: write {question} there"
            raise ValueError(msg)
        return prompt

    @model_validator(mode="after")
    def _the_model_scores(self) -> Self:
        if self.score == "lm" and self.model is None:
            msg = "score lm is what a model thinks of keys: name a `model`, or take intersective"
            raise ValueError(msg)
        return self


class SealIndexer(Indexer):
    """Builds nothing."""

    version: ClassVar[int] = 1
    Settings: ClassVar[type[SealSettings]] = SealSettings

    @staticmethod
    def table(settings: Any) -> None:
        """None: a SEAL index has no files."""

    @staticmethod
    def searches(settings: Any) -> str:
        """See `Indexer.searches`."""
        return "ngram"

    @staticmethod
    def check(settings: Any) -> None:
        """See `Indexer.check`.

        Raises:
            ModelError: the model is not there.
        """
        if settings.model is not None:
            locate(settings.model)
