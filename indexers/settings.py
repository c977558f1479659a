"""Settings of indexes over words, tokens and graphs, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.sections import DEFAULT_MODEL, ChatModel
from mnemodex.schemas.spec import ModelRef, ReadBy, Ref, SearchOnly

GraphMethod = Literal["hipporag1", "hipporag2", "bridge", "bridge-lite"]
Rewrites = Literal["clauses", "mentions"]

Tokenizer = Literal["words", "whitespace"]
Language = Literal[
    "arabic",
    "armenian",
    "basque",
    "catalan",
    "czech",
    "danish",
    "dutch",
    "english",
    "esperanto",
    "estonian",
    "finnish",
    "french",
    "german",
    "greek",
    "hindi",
    "hungarian",
    "indonesian",
    "irish",
    "italian",
    "lithuanian",
    "nepali",
    "norwegian",
    "persian",
    "polish",
    "portuguese",
    "romanian",
    "russian",
    "serbian",
    "sesotho",
    "spanish",
    "swedish",
    "tamil",
    "turkish",
    "yiddish",
]
"""Snowball's."""


class BM25Settings(IndexSettings):
    """Settings of a BM25 index.

    Attributes:
        k1: how fast repeated words saturate.
        b: how much long chunks are discounted.
        with_title: whether the title is searched too.
        language: that words are stemmed by, and whose stop words are left out (English, Danish, Dutch, French, German,
            Italian, Norwegian, Portuguese, Russian, Spanish, Swedish, Turkish; of others none are). Words in another
            script are stemmed by a language of theirs.
        tokenizer: `words`, or `whitespace` for texts in which words are set apart by spaces already: no stems, no stop
            words.
    """

    type: Literal["bm25"] = "bm25"
    k1: Annotated[float, SearchOnly()] = Field(default=1.2, ge=0)
    b: Annotated[float, SearchOnly()] = Field(default=0.75, ge=0, le=1)
    with_title: bool = True
    language: Language = "english"
    tokenizer: Tokenizer = "words"

    @model_validator(mode="after")
    def _the_tokenizer_stems(self) -> Self:
        if self.tokenizer != "words" and self.language != "english":
            raise ValueError(
                f"`language` is for tokenizer words: {self.tokenizer} knows no stems; leave one of them out"
            )
        return self


class NgramSettings(IndexSettings):
    """Settings of an n-gram index.

    Attributes:
        tokenizer: the model whose `tokenizer.json` makes the tokens: a path, a hub id, or `pkg:MODULE/FOLDER`.
        document_array: keep the document of every token's row (two bytes a token): with it documents are counted some
            hundred times as fast, and occurrences limited to the first few are found without locating all.
    """

    type: Literal["ngram"] = "ngram"
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL
    document_array: bool = True


class SealSettings(IndexSettings):
    """Settings of a SEAL index.

    Attributes:
        of: the n-gram index that is searched; the recipe's only one by default.
        model: the language model that writes keys: a path, a hub id, or `pkg:MODULE/FILE`. Its tokenizer is the n-gram
            index's. Without one, the n-grams of the question are the keys.
        score: `lm`, `lm_fm` or `intersective`, see `retrievers.seal.keys`.
        beams: of the search for keys.
        length: tokens of the longest key from a text.
        body_prompt: what the model continues with keys from texts; `{question}` is replaced by the question. By default
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


class GraphSettings(IndexSettings):
    """Settings of a graph index.

    Attributes:
        embed: the embedding of passages, facts and names.
        method: how passages are ranked; `hipporag1`, `hipporag2` and `bridge` read the same files.
        synonymy: the cosine from which on two names count as synonyms; null for no such edges, which saves embedding
            all names. All graph indexes of a recipe have one.
        recognition: for hipporag2, the model that says which facts serve the question; none is asked by default.
        of: for bridge-lite, a dense index: then nothing is built, and nothing walked.
        rewrites: for bridge, what takes the place of what in a question: the names that it mentions, or also whole
            clauses, which a spaCy model with a parser finds. By default clauses, where spaCy extracted the triples and
            its model is installed.
        budget_ms: for the bridges, milliseconds that the rewrites of a question may take; the rest is left out, as
            `--explain` says. By default all are asked.
        words: for the bridges, a bm25 index, by which passages gain up to .05 of a cosine; none by default.
    """

    type: Literal["graph"] = "graph"
    embed: Annotated[str | None, Ref("embed")] = None
    method: Annotated[GraphMethod, SearchOnly()] = "bridge"
    synonymy: Annotated[float | None, ReadBy("synonyms")] = Field(default=0.8, gt=0, le=1)
    recognition: Annotated[ChatModel | None, SearchOnly()] = None
    of: Annotated[str | None, Ref("index", type="dense", default="none")] = None
    rewrites: Annotated[Rewrites | None, SearchOnly()] = None
    budget_ms: Annotated[float | None, SearchOnly()] = Field(default=None, gt=0)
    words: Annotated[str | None, Ref("index", type="bm25", default="none"), SearchOnly()] = None

    @model_validator(mode="after")
    def _only_where_they_count(self) -> Self:
        if self.of is not None and self.method != "bridge-lite":
            raise ValueError(
                f"of is for the method bridge-lite; {self.method} reads the graph of the section `triples`"
            )
        if self.recognition is not None and self.method != "hipporag2":
            raise ValueError("recognition is for the method hipporag2")
        if self.rewrites is not None and self.method != "bridge":
            raise ValueError("rewrites is for the method bridge")
        if self.budget_ms is not None and self.method not in {"bridge", "bridge-lite"}:
            raise ValueError("budget_ms is for the methods bridge and bridge-lite")
        if self.words is not None and self.method not in {"bridge", "bridge-lite"}:
            raise ValueError("words is for the methods bridge and bridge-lite")
        return self

    @property
    def has_facts(self) -> bool:
        """Whether it needs the triples of the recipe."""
        return self.method != "bridge-lite"
