"""What an n-gram index says of phrases."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s


class Located(NamedTuple):
    """Where phrases occur, in the order of the index: of phrase i, the elements `offsets[i]:offsets[i + 1]`.

    That is the order of the corpus, but for documents that were added in the midst of it later: they are in shards of
    their own, which come last.
    """

    offsets: Int64s
    chunk_ids: Int64s
    """The first chunk that covers the occurrence's start; -1 in a document without chunks."""
    documents: Int64s
    """Numbers of the documents, counted through the index."""
    tokens: Int64s
    """The occurrences' first tokens, counted in their documents."""
    lengths: Int64s
    """Their tokens."""


class NextTokens(NamedTuple):
    """What follows phrases, the most frequent first: of phrase i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: Int64s
    tokens: Int64s
    counts: Int64s
    texts: list[str]


class DocumentCounts(NamedTuple):
    """The documents of phrases, in the order of the index: of phrase i, the elements `offsets[i]:offsets[i + 1]`."""

    offsets: Int64s
    doc_ids: Int64s
    counts: Int64s
