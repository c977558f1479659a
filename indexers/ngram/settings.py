"""Settings of an n-gram index, as the recipe gives them."""

from __future__ import annotations

from typing import Literal

from mnemodex.indexers.base import IndexSettings
from mnemodex.schemas.recipe import DEFAULT_MODEL


class NgramSettings(IndexSettings):
    """Settings of an n-gram index.

    Attributes:
        tokenizer: the model whose `tokenizer.json` makes the tokens: a path, a hub id, or `pkg:MODULE/FOLDER`.
        document_array: keep the document of every token's row (two bytes a token): with it documents are counted some
            hundred times as fast, and occurrences limited to the first few are found without locating all.
    """

    type: Literal["ngram"] = "ngram"
    tokenizer: str = DEFAULT_MODEL
    document_array: bool = True
