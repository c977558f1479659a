"""An encoder without a model: words hashed to places of a vector (Weinberger et al., 2009)."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from mnemodex.indexers.encoders.base import PlainEncoder
from mnemodex.schemas.sections import TextEmbedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class HashingSettings(TextEmbedding):
    """Settings of `encoder: hashing`.

    Attributes:
        dimension: numbers of a vector.
    """

    encoder: Literal["hashing"]
    dimension: int = Field(default=256, ge=1)


class HashingEncoder(PlainEncoder):
    """Counts words, with signs; prefixes and normalisation are done for it."""

    def __init__(self, settings: HashingSettings, *, threads: int | None = None) -> None:
        self.dimension = settings.dimension

    @override
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for number, text in enumerate(texts):
            hashes = np.array([zlib.crc32(word.encode()) for word in text.casefold().split()], np.uint32)
            np.add.at(vectors[number], hashes % self.dimension, np.where(hashes & 0x8000_0000, 1.0, -1.0))
        return vectors
