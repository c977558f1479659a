"""The recipe's `qa_pairs`: from a file, or generated: passages, answers in them, questions, and filters (PAQ)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from mnemodex.schemas.limits import SHARE, MaxErrors
from mnemodex.schemas.sections import SPACY_MODEL, ChatModel, Url
from mnemodex.schemas.spec import ModelRef, ReadBy, RecipePath, Ref, RunOnly, Spec


class PairFile(Spec):
    """Question-answer pairs that were made before.

    Attributes:
        path: `from` in the recipe: JSONL `{"id", "question", "answers", "passage_id"}`, CSV or TSV with a header of
            these names (both plain or compressed), or Parquet. The answers are a text or several, also named `answer`;
            `id` is the pair's key, `passage_id` a document's, and either may be missing.
        max_errors: how many unusable rows a build accepts before it fails, a number or a percentage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    # It names the class, and fingerprints are those from before there were generators.
    generator: Annotated[Literal["file"], RunOnly()] = "file"
    path: Annotated[str, RecipePath()] = Field(alias="from", min_length=1)
    max_errors: Annotated[MaxErrors, RunOnly()] = 100


class PassageChoice(Spec):
    """Which chunks questions are made of: those that a classifier finds worth asking about.

    Attributes:
        model: a transformers model with two classes, the second of which is "worth asking": a path, a hub id, or
            `pkg:MODULE/FOLDER`.
        min_score: the least log-probability of that class.
    """

    model: Annotated[str, ModelRef(), ReadBy("passages")]
    min_score: Annotated[float, ReadBy("choice")] = Field(default=-0.7, le=0)


class AnswerSpans(Spec):
    """How answers are found in a chunk.

    Attributes:
        by: `spacy` for named entities and noun chunks, `model` for a span model of transformers, which is given the
            chunk alone.
        spacy: an installed spaCy model, or its folder; of `by: spacy`.
        model: the span model: a path, a hub id, or `pkg:MODULE/FOLDER`; of `by: model`.
        max_answers: most answers of a chunk.
        max_tokens: tokens of an answer at most.
    """

    by: Literal["spacy", "model"] = "spacy"
    spacy: Annotated[str, ModelRef("spacy")] | None = None
    model: Annotated[str, ModelRef()] | None = None
    max_answers: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=30, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _default_model(cls, data: Any) -> Any:
        # Only of what reads it: another finder is not to wait for a model that is not installed.
        if isinstance(data, dict) and data.get("by", "spacy") == "spacy" and data.get("spacy") is None:
            return {**data, "spacy": SPACY_MODEL}
        return data

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        other = "model" if self.by == "spacy" else "spacy"
        if getattr(self, other) is not None:
            raise ValueError(f"`{other}` is for `by: {other}`, and this is `by: {self.by}`; leave one of them out")
        if self.by == "model" and self.model is None:
            raise ValueError("`by: model` needs a span model: give `model`, or take `by: spacy`")
        return self


class PairFilter(Spec):
    """Keeps pairs whose question a reader answers as the pair does.

    Attributes:
        by: `global` reads the best hits of an index for the question, `local` the pair's own chunk alone.
        index: of `global`, an index over chunks; the first one by default.
        k: of `global`, the hits that are read.
        model: the reader: a span model, an encoder-decoder or a causal model of transformers.
        server: the reader behind a server. Without either, answers are chosen by rules.
    """

    by: Literal["global", "local"] = "global"
    index: Annotated[str | None, Ref("index")] = None
    k: int = Field(default=50, ge=1)
    model: Annotated[str, ModelRef()] | None = None
    server: ChatModel | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.by == "local" and self.index is not None:
            raise ValueError("`index` is for `by: global`: `by: local` reads the pair's own chunk; leave it out")
        if self.model is not None and self.server is not None:
            raise ValueError("there is one reader: give `model` or `server`")
        return self


class GeneratedPairs(Spec):
    """What is said of any generator; every one has its own subclass.

    Attributes:
        passages: which chunks; all of them by default.
        max_pairs: most pairs of a chunk, the best first; others are not filtered.
        filter: which pairs are kept; all by default.
        max_errors: how many chunks with failures and without a pair a build accepts before it fails, a number or a
            percentage of the chunks.
    """

    generator: str
    passages: Annotated[PassageChoice | None, ReadBy("passages", "choice")] = None
    max_pairs: Annotated[int, ReadBy("candidates")] = Field(default=8, ge=1)
    filter: Annotated[PairFilter | None, ReadBy("filter")] = None
    max_errors: Annotated[MaxErrors, RunOnly()] = SHARE


class RulePairs(GeneratedPairs):
    """Questions by rules over spaCy's parse, offline; the rules find the answers too.

    Attributes:
        model: an installed spaCy model, or its folder.
    """

    generator: Literal["rules"]
    model: Annotated[str, ModelRef("spacy")] = Field(default=SPACY_MODEL, min_length=1)


class ModelPairs(GeneratedPairs):
    """Questions by an encoder-decoder or a causal model of transformers.

    Attributes:
        model: a path, a hub id, or `pkg:MODULE/FOLDER`.
        answers: what is asked for.
        prompt: what the model reads; `{answer}`, `{title}` and `{passage}` are replaced, and the answer stands between
            `**` in the passage. By default what the model's kind suggests.
        questions: of an answer.
        beams: of the search.
        max_tokens: of a question.
    """

    generator: Literal["model"]
    model: Annotated[str, ModelRef()]
    answers: AnswerSpans = Field(default_factory=AnswerSpans)
    prompt: str | None = None
    questions: int = Field(default=1, ge=1)
    beams: int = Field(default=4, ge=1)
    max_tokens: int = Field(default=20, ge=1)

    @field_validator("prompt")
    @classmethod
    def _has_places(cls, prompt: str | None) -> str | None:
        missing = [] if prompt is None else [place for place in ("{answer}", "{passage}") if place not in prompt]
        if missing:
            raise ValueError(f"has no {' and no '.join(missing)}, which the model reads; write it where it belongs")
        return prompt

    @model_validator(mode="after")
    def _enough_beams(self) -> Self:
        if self.questions > self.beams:
            raise ValueError(f"`questions` is {self.questions}, but there are {self.beams} beams; raise `beams`")
        return self


class LlmPairs(GeneratedPairs):
    """Questions by a language model behind a server.

    Attributes:
        model: its name at the server.
        base_url: a server that speaks OpenAI's protocol, with its `/v1`.
        answers: what is asked for.
        api_key_env: the environment variable that holds the key.
        temperature: 0 for the likeliest words.
        max_tokens: of one answer; the server's limit by default.
        timeout: seconds that an answer may take.
        max_retries: how often a question is asked again where the server is busy or fails.
        concurrency: questions that are asked at once.
        retry: raised, it asks again where there was no usable answer; what is usable is kept.
    """

    generator: Literal["llm"]
    model: str = Field(min_length=1)
    base_url: Annotated[Url, RunOnly()]
    answers: AnswerSpans = Field(default_factory=AnswerSpans)
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: Annotated[float, RunOnly()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, RunOnly()] = Field(default=5, ge=0)
    concurrency: Annotated[int, RunOnly()] = Field(default=8, ge=1)
    retry: int = Field(default=0, ge=0)
