"""Ids: 63-bit hashes, equal in every run, so that partitions need no coordination."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MASK = np.uint64((1 << 63) - 1)
_POSITIONS = np.int64((1 << 63) - 1)
_KEY_BYTES = hashlib.blake2b.MAX_KEY_SIZE


def hash_text(*parts: str, salt: str = "") -> int:
    """Hash strings to one non-negative int64; they are length-prefixed, so ("ab", "c") differs from ("a", "bc")."""
    key = salt.encode("utf-8", "surrogatepass")
    # A longer key than BLAKE2b takes is hashed first, as in HMAC.
    digest = hashlib.blake2b(digest_size=8, key=key if len(key) <= _KEY_BYTES else hashlib.blake2b(key).digest())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "little") & int(_MASK)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply the finaliser of splitmix64 (Steele, Lea and Flood, 2014): a bijection of 64-bit words."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def hash_columns(columns: Sequence[NDArray[np.int64]], *, salt: str = "") -> NDArray[np.int64]:
    """Hash rows of integers, one int64 column a field, to non-negative ids, int64 of shape (rows,).

    Another salt changes every id: the remedy for a collision.
    """
    state = np.full(len(columns[0]), hash_text("columns", salt=salt), dtype=np.uint64)
    for column in columns:
        state = _mix(state + np.uint64(0x9E3779B97F4A7C15) + _mix(column.astype(np.int64).view(np.uint64)))
    return (state & _MASK).astype(np.int64)


def hash_strings(letters: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash strings to 64 bits, to find equal ones; no id is made of these.

    Args:
        letters: the bytes of all strings.
        offsets: where each begins, and the last ends; shape (strings + 1,).
    """
    lengths = np.diff(offsets)
    # A sum over each string of what its bytes and their places in it are mixed to.
    places = np.arange(len(letters)) - np.repeat(offsets[:-1], lengths)
    sums = np.append(np.uint64(0), np.cumsum(_mix((places.astype(np.uint64) << np.uint64(8)) + letters)))
    return _mix(sums[offsets[1:]] - sums[offsets[:-1]] + lengths.astype(np.uint64))


def token_positions(doc_ids: NDArray[np.int64], offsets: NDArray[np.int64] | np.int64) -> NDArray[np.int64]:
    """Return the positions of tokens by their document and number in it: ids of 63 bits, consecutive within a document.

    Documents begin at random places, so that two of them hardly ever meet: of a million documents of a thousand tokens
    with a chance of 1 in 10,000. The position after another one is `token_positions(position, 1)`, and a document's
    offset `token_positions(position, -doc_id)`: sums wrap around at 2^63.
    """
    return (doc_ids + offsets) & _POSITIONS
