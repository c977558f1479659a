"""From a token of a document to the chunk that it belongs to, by arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_NAMES = ("first_tokens", "document_chunks", "document_tokens")

_WIDEST = np.int64(1) << 32
"""More characters than a document has: makes one ascending key of document and character."""


@dataclass(frozen=True)
class ChunkMap:
    """Which tokens belong to which chunk, for consecutive documents.

    A token belongs to the first chunk that covers its first character; between two chunks to the second, after the
    last to the last. So each chunk owns a run of tokens, although chunks may overlap.

    Attributes:
        first_tokens: the first token that each chunk owns, counted through all documents; int64 of shape (chunks,),
            ascending. A chunk that owns none has the number of the next.
        document_chunks: the first chunk of each document, and their number; int64 of shape (documents + 1,).
        document_tokens: the first token of each document, and their number; int64 of shape (documents + 1,).
    """

    first_tokens: NDArray[np.int64]
    document_chunks: NDArray[np.int64]
    document_tokens: NDArray[np.int64]

    @classmethod
    def of(cls, starts: Sequence[NDArray[np.int64]], document: NDArray[np.int64], ends: NDArray[np.int64]) -> ChunkMap:
        """Map the tokens of some documents.

        Args:
            starts: for each document the first character of each token.
            document: of each chunk the number of its document, int64 of shape (chunks,), ascending.
            ends: of each chunk the character after its last, ascending within a document.
        """
        lengths = np.array([len(some) for some in starts], np.int64)
        document_tokens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        document_chunks = np.searchsorted(document, np.arange(len(starts) + 1))
        # Tokens of one character, or without any, may stand a little out of order.
        characters = np.concatenate([np.zeros(0, np.int64), *map(np.maximum.accumulate, starts)])
        tokens = np.repeat(np.arange(len(starts)), lengths) * _WIDEST + characters
        # What a chunk owns begins where the one before it ends; the first of a document owns all before that.
        before = np.roll(ends, 1)
        before[document_chunks[:-1][np.diff(document_chunks) > 0]] = 0
        return cls(np.searchsorted(tokens, document * _WIDEST + before), document_chunks, document_tokens)

    @classmethod
    def concatenate(cls, parts: Sequence[ChunkMap]) -> ChunkMap:
        """The map of the documents of all parts, one after the other."""
        tokens = np.cumsum([0, *(part.document_tokens[-1] for part in parts)])
        chunks = np.cumsum([0, *(part.document_chunks[-1] for part in parts)])

        def joined(name: str, before: NDArray[np.int64]) -> list[NDArray[np.int64]]:
            """The arrays without the number at the end of each, counted on from part to part."""
            return [getattr(part, name)[: len(part)] + n for part, n in zip(parts, before, strict=False)]

        return cls(
            np.concatenate([tokens[:0], *(part.first_tokens + n for part, n in zip(parts, tokens, strict=False))]),
            np.concatenate([*joined("document_chunks", chunks), chunks[-1:]]),
            np.concatenate([*joined("document_tokens", tokens), tokens[-1:]]),
        )

    def __len__(self) -> int:
        """The number of documents."""
        return len(self.document_tokens) - 1

    def find(self, documents: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """The chunks of some tokens.

        Args:
            documents: numbers of documents, int64 of shape (n,).
            tokens: the tokens' numbers in their documents, int64 of shape (n,).

        Returns:
            The chunks' numbers, int64 of shape (n,); -1 in a document without chunks.
        """
        places = self.document_tokens[documents] + tokens
        chunks = np.searchsorted(self.first_tokens, places, side="right") - 1
        return np.where(chunks >= self.document_chunks[documents], chunks, -1)

    def owned(self, chunks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """What chunks own: their document, and their first token there and the one after their last.

        Args:
            chunks: numbers of chunks, int64 of shape (n,).

        Returns:
            Three int64 arrays of shape (n,).
        """
        documents = np.searchsorted(self.document_chunks, chunks, side="right") - 1
        last = chunks + 1 == self.document_chunks[documents + 1]
        following = self.first_tokens[np.minimum(chunks + 1, len(self.first_tokens) - 1)]
        stops = np.where(last, self.document_tokens[documents + 1], following)
        before = self.document_tokens[documents]
        return documents, self.first_tokens[chunks] - before, stops - before

    def save(self, out: Path) -> None:
        """Write each array as `.npy` into a folder."""
        for name in _NAMES:
            np.save(out / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> ChunkMap:
        """Map what `save` wrote.

        Raises:
            CorruptFileError: the arrays do not belong together.
        """
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _NAMES]
        opened = cls(*arrays)
        if len(arrays[1]) != len(arrays[2]) or arrays[1][-1] != len(arrays[0]):
            msg = f"{folder}: {', '.join(_NAMES)} differ in length; remove the folder and build again"
            raise CorruptFileError(msg)
        return opened
