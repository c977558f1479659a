"""A chunker and encoders as a Python caller passes them to `build`. Workers on Ray find their classes here."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass
class Sentences:
    """One chunk for every so many sentences."""

    count: int = 1

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array(self._spans(text), np.int64).reshape(-1, 2) for text in texts]

    def _spans(self, text: str) -> list[tuple[int, int]]:
        ends = [place + 1 for place, letter in enumerate(text) if letter == "."]
        ends = ends[self.count - 1 :: self.count]
        return list(zip([0, *ends[:-1]], ends, strict=False))


@dataclass
class Hashed:
    """Vectors of the words' hashes."""

    dimension: int = 16
    seed: int = 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            for word in text.casefold().split():
                digest = hashlib.sha256(f"{self.seed} {word}".encode()).digest()
                vectors[row, digest[0] % self.dimension] += 1
        return vectors


@dataclass
class Slow(Hashed):
    """Takes some seconds for every batch."""

    seconds: float = 1.0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(self.seconds)
        return super().encode(texts)
