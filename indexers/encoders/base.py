"""What an encoder is: texts in, vectors out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass
class EncodeStats:
    """What an encoder has done so far: texts, real and padded tokens, and texts that were cut at the model's limit."""

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    truncated: int = 0


class Window(NamedTuple):
    """Texts that are sorted by length together.

    Attributes:
        texts: the texts.
        done: which of them have their vectors, bool of shape (texts,); None for none.
    """

    texts: Sequence[str]
    done: NDArray[np.bool_] | None = None


class Encoded(NamedTuple):
    """The vectors of some texts of a window.

    Attributes:
        window: the window's number.
        rows: the texts' numbers in it, int64 of shape (n,).
        vectors: float32 of shape (n, dimension).
    """

    window: int
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class PlainEncoder(Protocol):
    """The least that an encoder of a plug-in or of a Python caller has.

    Attributes:
        dimension: numbers of a vector.
    """

    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 of shape (texts, dimension)."""


class TextEncoder(Protocol):
    """An encoder as indexes and retrievers use it.

    Attributes:
        stats: what it has done so far.
    """

    stats: EncodeStats

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""

    @property
    def max_length(self) -> int | None:
        """Tokens after which a text is cut; None where that is not known."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of questions, float32 of shape (texts, dimension)."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts as they are, float32 of shape (texts, dimension)."""

    def stream(self, windows: Iterable[Window]) -> Iterator[Encoded]:
        """Encode windows of texts as they are, as a stream.

        Yields:
            Vectors, in any order within a window, windows in order; what is done already is left out where that saves
            work.
        """
