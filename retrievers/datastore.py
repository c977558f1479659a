"""What a next-token datastore answers, wherever it is: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s
    from mnemodex.schemas.sections import KeyKind


class Neighbours(NamedTuple):
    """Entries of a datastore for each of q keys. Missing ones have distance inf, token -1 and id -1.

    Attributes:
        distances: squared Euclidean distances to the query's key, float32 of shape (q, k).
        tokens: the entries' values, the token that came next: int32 of shape (q, k).
        ids: the entries' positions, int64 of shape (q, k). The next token of the same text is at `id + 1`.
    """

    distances: Float32s
    tokens: Int32s
    ids: Int64s

    @classmethod
    def missing(cls, rows: int, k: int) -> Neighbours:
        """Return rows in which all k neighbours are missing."""
        shape = (rows, k)
        return cls(np.full(shape, np.inf, np.float32), np.full(shape, -1, np.int32), np.full(shape, -1, np.int64))

    def take(self, rows: Int64s | Bools) -> Neighbours:
        """Return some of the rows."""
        return Neighbours._make(column[rows] for column in self)

    def put(self, rows: Int64s, part: Neighbours) -> None:
        """Overwrite rows by neighbours of shape (rows, at most k), followed by missing ones."""
        count = part.ids.shape[1]
        for name, missing in (("distances", np.inf), ("tokens", -1), ("ids", -1)):
            column = getattr(self, name)
            column[rows, :count], column[rows, count:] = getattr(part, name), missing

    def nearest_first(self) -> Neighbours:
        """Return each row in the order of its distances, ties by id, missing ones last."""
        order = np.lexsort((self.ids, self.distances), axis=-1)
        return Neighbours._make(np.take_along_axis(column, order, axis=1) for column in self)


@dataclass(frozen=True, slots=True)
class DatastoreInfo:
    """What a datastore was built from; a reader has to agree with it.

    Attributes:
        key: which vector of the model the keys are.
        model: the model's name when it was built.
        model_sha256: of its files.
        tokenizer_sha256: of what decides its tokens.
        vocabulary: tokens that the model gives probabilities to.
        window: tokens that were read at once.
        overlap: of them, those that the window before had read.
        prefix: the tokens that every window began with (a model's token for the beginning of a text), often none.
        scale: a third of the median, over held-out entries, of the difference between the squared distances of the
            tenth and the first neighbour: the natural unit of a temperature.
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
    sample_tokens: Int32s
    sample_keys: Float32s


class Datastore(Protocol):
    """Keys and the tokens that came next, in this process or in another one. Safe to call from several threads."""

    @property
    def info(self) -> DatastoreInfo:
        """What it was built from."""

    def nearest(self, keys: Float32s, k: int) -> Neighbours:
        """Return the k nearest entries of each of some keys, shape (q, dimension), nearest first, ties by id.

        Distances are the index's own, which an index over codes only estimates.

        Raises:
            QueryError: k is above the number of entries or below 1; a key holds NaN or is of another dimension.
        """

    def measure(self, keys: Float32s, ids: Int64s) -> Neighbours:
        """Return named entries with their exact distances, in the order given; those that do not exist are missing.

        Keys are of shape (q, dimension), and ids, the positions for each key, of shape (q, m); -1 for none.

        Raises:
            QueryError: a key holds NaN or is of another dimension.
        """
