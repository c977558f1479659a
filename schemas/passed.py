"""Objects that a Python caller passes to `build` instead of settings: a chunker, an encoder."""

from __future__ import annotations

from typing import Literal

from mnemodex.schemas.embedding import TextEmbedding
from mnemodex.schemas.spec import Spec


class PassedChunker(Spec):
    """A chunker that the caller passes.

    Attributes:
        identity_of: what decides its chunks.
    """

    by: Literal["passed"] = "passed"
    identity_of: str


class PassedEmbedding(TextEmbedding):
    """An encoder that the caller passes.

    Attributes:
        identity_of: what decides its vectors.
        name: of the recipe's entry.
    """

    encoder: Literal["passed"] = "passed"
    identity_of: str
    name: str
