"""What a next-token datastore answers, wherever it is: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnemodex.schemas.lm import KeyKind


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Entries of a datastore for each of q keys. Missing places have distance inf, token -1 and id -1.

    Attributes:
        distances: squared Euclidean distances to the query's key, float32 of shape (q, k).
        tokens: the entries' values, the token that came next: int32 of shape (q, k).
        ids: the entries' positions, int64 of shape (q, k). The next token of the same text is at `id + 1`.
    """

    distances: NDArray[np.float32]
    tokens: NDArray[np.int32]
    ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DatastoreInfo:
    """What a datastore was made of; what reads from it has to agree.

    Attributes:
        name: the index's.
        rows: entries.
        dimension: of the keys.
        key: which vector of the model the keys are.
        model: the model's name when it was built.
        model_sha256: of its files.
        tokenizer_sha256: of what decides its tokens.
        vocabulary: tokens that the model gives probabilities to.
        window: tokens that were read at once.
        overlap: of them, those that the window before had read.
        prefix: the tokens that every window began with (a model's token for the beginning of a text), often none.
        scale: what the distances are like: a third of the median, over held-out entries, of the difference between the
            squared distances of the tenth and the first neighbour. The natural unit of a temperature.
        sample_tokens: tokens at the beginning of a text of the datastore, the prefix included, int32 of shape (n + 1,).
        sample_keys: the keys that are stored of them, float32 of shape (m, dimension), m <= n; the last one was read
            before the last token, the others in front of it.
    """

    name: str
    rows: int
    dimension: int
    key: KeyKind
    model: str
    model_sha256: str
    tokenizer_sha256: str
    vocabulary: int
    window: int
    overlap: int
    prefix: tuple[int, ...]
    scale: float
    sample_tokens: NDArray[np.int32]
    sample_keys: NDArray[np.float32]


class Datastore(Protocol):
    """Keys and the tokens that came next; in this process or in another one. Safe to call from several threads."""

    @property
    def info(self) -> DatastoreInfo:
        """What it was made of."""

    def nearest(self, keys: NDArray[np.float32], k: int) -> Neighbours:
        """The k nearest entries of each key, nearest first, ties by id.

        Distances are the index's own, which an index over codes only estimates.

        Args:
            keys: shape (q, dimension).
            k: entries wanted, at most `info.rows`.

        Raises:
            QueryError: k is above the number of entries or below 1; a key holds NaN or is of another dimension.
        """

    def measure(self, keys: NDArray[np.float32], ids: NDArray[np.int64]) -> Neighbours:
        """Named entries with their exact distances, in the order given; those that do not exist are missing.

        Args:
            keys: shape (q, dimension).
            ids: positions for each key, shape (q, m); -1 for none.

        Raises:
            QueryError: a key holds NaN or is of another dimension.
        """
