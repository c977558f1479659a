"""Settings of an n-gram index, as the recipe gives them."""

from __future__ import annotations

from typing import Annotated, Literal

from mnemodex.schemas.embedding import DEFAULT_MODEL
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ModelRef


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
