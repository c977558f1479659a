"""Blocks of vectors that were made elsewhere, and the hashes by which they name chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from mnemodex.schemas.ids import hash_columns, hash_strings
from mnemodex.schemas.store.columns import spelling

if TYPE_CHECKING:
    import pyarrow as pa

    from mnemodex.indexers.arrays import Array, Int64s

IdForm = Literal["chunk_id", "place", "text"]
"""By what the rows of a file name chunks: their id; key and ordinal; or a text, the key or `KEY#ORDINAL`."""


class Header(NamedTuple):
    """What a file says before its vectors are read.

    Attributes:
        rows: of the file.
        dimension: numbers of a vector; 0 where only reading the vectors shows it.
        form: of its ids.
    """

    rows: int
    dimension: int
    form: IdForm


class Block(NamedTuple):
    """Some rows of a file: their ids as `hash_id` makes them, int64; their vectors, of shape (rows, dimension).

    `bare` has, of ids that end in `#0`, the hash without that ending; -1 of others.
    """

    path: str
    first: int
    ids: Int64s
    bare: Int64s
    vectors: Array


def hash_id(texts: pa.StringArray) -> Int64s:
    """Hash ids to int64, not negative; texts of any number."""
    return (hash_strings(*spelling(texts)) & np.uint64((1 << 63) - 1)).astype(np.int64)


def hash_place(keys: pa.StringArray, ordinals: Int64s) -> Int64s:
    """Hash the key of a document and the number of a chunk in it to int64, not negative."""
    return hash_columns([hash_id(keys), ordinals])
