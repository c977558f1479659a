"""The tokens of texts and where they stand, for texts of any length."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_PIECE = 1 << 16
"""Characters tokenised as one: time and memory grow faster than the text (10 MB as one take 10 s and 1.6 GB)."""

_BATCH = 1 << 20
"""Characters that are handed to the tokenizer's threads at once."""


class Tokens(NamedTuple):
    """The tokens of one text, without those that a model adds at its ends."""

    ids: NDArray[np.int32]
    """Token ids, shape (tokens,)."""
    offsets: NDArray[np.int64]
    """Character offsets of each token, start and end, shape (tokens, 2)."""


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """The tokens of each text.

    A long text is tokenised piece by piece, cut before a single space between words. Tokenizers that work on words
    (BERT's, byte-level BPE) give the tokens of the whole text; others may give one token more a piece.

    Args:
        tokenizer: with truncation and padding off.
        texts: the texts.
    """
    ids: list[list[NDArray[np.int32]]] = [[np.zeros(0, np.int32)] for _ in texts]
    offsets: list[list[NDArray[np.int64]]] = [[np.zeros((0, 2), np.int64)] for _ in texts]
    for batch in _batches(texts):
        pieces = [texts[number][start:end] for number, start, end in batch]
        encodings = tokenizer.encode_batch(pieces, add_special_tokens=False)
        for (number, start, _), encoding in zip(batch, encodings, strict=True):
            ids[number].append(np.array(encoding.ids, np.int32))
            offsets[number].append(np.array(encoding.offsets, np.int64).reshape(-1, 2) + start)
    return [Tokens(np.concatenate(some), np.concatenate(places)) for some, places in zip(ids, offsets, strict=True)]


def text_prefix(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The tokens that a model wants before a text (one for its beginning), often none."""
    written = tokenizer.encode("a")
    marks = [*written.special_tokens_mask, 0]
    return tuple(written.ids[: marks.index(0)])


def unknown_token(tokenizer: Tokenizer) -> int | None:
    """The id that stands for what is not in the vocabulary; None where a tokenizer has none."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown: int | None = model.get("unk_id")
    if unknown is None and model.get("unk_token") is not None:
        unknown = tokenizer.token_to_id(model["unk_token"])
    return unknown


def token_offsets(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Character offsets of every token that stands for characters: for each text an int64 array of shape (tokens, 2).

    See `tokenize`.
    """
    return [offsets[offsets[:, 1] > offsets[:, 0]] for _, offsets in tokenize(tokenizer, texts)]


def _batches(texts: Sequence[str]) -> Iterator[list[tuple[int, int, int]]]:
    """Pieces (text, start, end), as many as fill a batch."""
    batch: list[tuple[int, int, int]] = []
    filled = 0
    for number, text in enumerate(texts):
        for start, end in _pieces(text):
            batch.append((number, start, end))
            filled += end - start
            if filled >= _BATCH:
                yield batch
                batch, filled = [], 0
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > _PIECE:
        end = _word_end(text, start, start + _PIECE)
        yield start, end
        start = end
    yield start, len(text)


def _word_end(text: str, start: int, end: int) -> int:
    """The last place before `end` where a single space parts two words, or `end` where there is none."""
    place = text.rfind(" ", start + 1, end)
    while place > start:
        if not text[place - 1].isspace() and not text[place + 1].isspace():
            return place
        place = text.rfind(" ", start + 1, place)
    return end
