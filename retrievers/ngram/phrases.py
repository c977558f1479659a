"""Phrases as token ids, in every way in which a tokenizer may have cut them in running text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokens import unknown_token
from mnemodex.indexers.ngram.ragged import Ragged, as_ragged
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from tokenizers import Tokenizer

    Phrases = Sequence[str] | Ragged | Sequence[ArrayLike] | NDArray[np.integer]


class Variants(NamedTuple):
    """The n-grams of some phrases: none, one or two each, of which no two can occur at one place."""

    ngrams: Ragged
    phrase: NDArray[np.int64]
    """The number of each n-gram's phrase, int64 of shape (n-grams,), ascending."""
    empty: list[int]
    """The numbers of phrases without a token."""


class PhraseTokenizer:
    """Turns phrases into the n-grams to look for.

    Byte-pair tokenizers put the space before a word into its token, so that "be" is one token at the beginning of a
    line and another one after a space: a phrase is looked for with and without a space before it. Other white space at
    its ends does not count. A phrase with an unknown token is nowhere: the index does not know which words its own
    unknown tokens stood for.

    Args:
        tokenizer: with truncation and padding off.

    Attributes:
        tokenizer: the same.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._unknown = unknown_token(tokenizer)

    def variants(self, phrases: Phrases) -> Variants:
        """The n-grams of phrases.

        Args:
            phrases: texts, or token ids as `FMIndex` takes them, which are looked for as they are.

        Raises:
            QueryError: there are texts and token ids, or something else.
        """
        if isinstance(phrases, str):
            raise QueryError("give a list of phrases: [phrase]")
        if isinstance(phrases, Ragged | np.ndarray) or not any(isinstance(phrase, str) for phrase in phrases):
            ngrams = as_ragged(phrases)
            return Variants(
                ngrams, np.arange(len(ngrams), dtype=np.int64), np.flatnonzero(ngrams.lengths == 0).tolist()
            )
        texts = [_stripped(number, phrase) for number, phrase in enumerate(phrases)]
        plain, spaced = (
            [encoding.ids for encoding in self.tokenizer.encode_batch(some, add_special_tokens=False)]
            for some in (texts, [f" {text}" for text in texts])
        )
        found = [
            (number, ids)
            for number, pair in enumerate(zip(plain, spaced, strict=True))
            for ids in _different(*pair)
            if ids and self._unknown not in ids
        ]
        return Variants(
            Ragged.of([ids for _, ids in found]),
            np.array([number for number, _ in found], dtype=np.int64),
            [number for number, ids in enumerate(plain) if not ids],
        )

    def pieces(self, texts: Sequence[str], longest: int) -> Variants:
        """The n-grams of texts as they would stand in the middle of running text, each once a text.

        Args:
            texts: cut with a space before them, which only byte-pair tokenizers notice.
            longest: tokens that an n-gram has at most.

        Returns:
            The n-grams of 1 to `longest` tokens, none with an unknown token.
        """
        bare = [_stripped(number, text) for number, text in enumerate(texts)]
        spaced = [f" {text}" if text else "" for text in bare]
        encodings = self.tokenizer.encode_batch(spaced, add_special_tokens=False)
        found = [_pieces(encoding.ids, longest, self._unknown) for encoding in encodings]
        return Variants(
            Ragged.of([ids for some in found for ids in some]),
            np.repeat(np.arange(len(found)), [len(some) for some in found]),
            [number for number, encoding in enumerate(encodings) if not encoding.ids],
        )

    def texts(self, ngrams: Ragged) -> list[str]:
        """The text of each n-gram."""
        rows = [ngrams.part(row, row + 1).values.tolist() for row in range(len(ngrams))]
        return list(self.tokenizer.decode_batch(rows, skip_special_tokens=False))

    def decode(self, tokens: NDArray[np.int64]) -> list[str]:
        """The text of each token; byte-pair tokens keep the space before them."""
        different, place = np.unique(tokens, return_inverse=True)
        texts = self.tokenizer.decode_batch([[token] for token in different.tolist()], skip_special_tokens=False)
        return [texts[number] for number in place.tolist()]


def _stripped(number: int, phrase: object) -> str:
    if not isinstance(phrase, str):
        raise QueryError(f"phrase {number} is a {type(phrase).__name__}: give all as texts, or all as token ids")
    return phrase.strip()


def _pieces(ids: list[int], longest: int, unknown: int | None) -> list[tuple[int, ...]]:
    """The different n-grams of a text, in their order."""
    found = (
        tuple(ids[start : start + length]) for length in range(1, longest + 1) for start in range(len(ids) - length + 1)
    )
    return [ngram for ngram in dict.fromkeys(found) if unknown not in ngram]


def _different(one: list[int], other: list[int]) -> list[list[int]]:
    """Two n-grams, or the shorter one if it ends the longer: it occurs wherever that does."""
    shorter, longer = sorted((one, other), key=len)
    return [shorter] if longer[len(longer) - len(shorter) :] == shorter else [one, other]
