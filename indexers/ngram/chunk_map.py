"""From a token of a document to the chunk that it belongs to, by arrays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import Int64s, check_arrays, check_offsets, open_arrays, save_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAMES = ("first_tokens", "document_chunks", "document_tokens")

_WIDEST = np.int64(1) << 32
"""More characters than a document has: makes one ascending key of document and character."""


@dataclass(frozen=True)
class ChunkMap:
    """The chunk of each token, for consecutive documents.

    A token belongs to the first chunk that covers its first character; between two chunks to the second, after the
    last to the last. So each chunk owns a run of tokens, although chunks may overlap.

    Attributes:
        first_tokens: the first token that each chunk owns, counted through all documents; int64 of shape (chunks,),
            ascending. A chunk that owns none has the number of the next.
        document_chunks: the first chunk of each document, and their number; int64 of shape (documents + 1,).
        document_tokens: the first token of each document, and their number; int64 of shape (documents + 1,).
    """

    first_tokens: Int64s
    document_chunks: Int64s
    document_tokens: Int64s

    @classmethod
    def of(cls, starts: Sequence[Int64s], document: Int64s, ends: Int64s) -> ChunkMap:
        """Map the tokens of some documents.

        Args:
            starts: for each document the first character of each token.
            document: of each chunk the number of its document, int64 of shape (chunks,), ascending.
            ends: of each chunk the character after its last, ascending within a document.
        """
        lengths = np.array(list(map(len, starts)), np.int64)
        document_tokens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        document_chunks = np.searchsorted(document, np.arange(len(starts) + 1))
        # Tokens of one character, or without any, may be a little out of order.
        characters = np.concatenate([np.zeros(0, np.int64), *map(np.maximum.accumulate, starts)])
        tokens = np.repeat(np.arange(len(starts)), lengths) * _WIDEST + characters
        # What a chunk owns begins where the one before it ends; the first of a document owns all before that.
        before = np.roll(ends, 1)
        before[document_chunks[:-1][np.diff(document_chunks) > 0]] = 0
        return cls(np.searchsorted(tokens, document * _WIDEST + before), document_chunks, document_tokens)

    @classmethod
    def concatenate(cls, parts: Sequence[ChunkMap]) -> ChunkMap:
        """Return the map of the documents of all parts, one after the other."""
        tokens = np.cumsum([0, *(part.document_tokens[-1] for part in parts)])
        chunks = np.cumsum([0, *(part.document_chunks[-1] for part in parts)])

        def shifted(name: str, before: Int64s, end: int | None = -1) -> list[Int64s]:
            # The last number of an array for each document is the first of the next part's.
            return [getattr(part, name)[:end] + n for part, n in zip(parts, before, strict=False)]

        return cls(
            np.concatenate([tokens[:0], *shifted("first_tokens", tokens, None)]),
            np.concatenate([*shifted("document_chunks", chunks), chunks[-1:]]),
            np.concatenate([*shifted("document_tokens", tokens), tokens[-1:]]),
        )

    def __len__(self) -> int:
        return len(self.document_tokens) - 1

    def find(self, documents: Int64s, tokens: Int64s) -> Int64s:
        """Return the chunks of tokens, given by their documents and numbers in these, int64 of (n,); -1 for none."""
        places = self.document_tokens[documents] + tokens
        chunks = np.searchsorted(self.first_tokens, places, side="right") - 1
        return np.where(chunks >= self.document_chunks[documents], chunks, -1)

    def owned(self, chunks: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Return the documents of chunks, their first tokens there and those after their last, int64 of shape (n,)."""
        documents = np.searchsorted(self.document_chunks, chunks, side="right") - 1
        last = chunks + 1 == self.document_chunks[documents + 1]
        following = self.first_tokens[np.minimum(chunks + 1, len(self.first_tokens) - 1)]
        stops = np.where(last, self.document_tokens[documents + 1], following)
        before = self.document_tokens[documents]
        return documents, self.first_tokens[chunks] - before, stops - before

    def save(self, out: Path) -> None:
        """Write each array as `.npy` into a folder."""
        save_arrays(out, **vars(self))

    @classmethod
    def open(cls, folder: Path) -> ChunkMap:
        """Map what `save` wrote; a `CorruptFileError` says that the arrays do not belong together."""
        first_tokens, chunks, tokens = arrays = open_arrays(folder, **dict.fromkeys(_NAMES, np.int64))
        check_arrays(len(chunks) == len(tokens) > 0, folder, ", ".join(_NAMES))
        check_offsets(chunks, len(first_tokens), folder, "document_chunks")
        check_offsets(tokens, tokens[-1], folder, "document_tokens")
        # Tokens rise, so those of a document's chunks are in it if the first and the last are.
        filled = chunks[1:] > chunks[:-1]
        first, last = first_tokens[chunks[:-1][filled]], first_tokens[chunks[1:][filled] - 1]
        rising = (first_tokens[1:] >= first_tokens[:-1]).all()
        inside = (first >= tokens[:-1][filled]).all() and (last <= tokens[1:][filled]).all()
        check_arrays(bool(rising and inside), folder, "first_tokens and document_tokens")
        return cls(*arrays)
