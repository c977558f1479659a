"""Phrases as token ids, in every way in which a tokenizer may have cut them in running text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.tokenizers import unknown_token
from mnemodex.indexers.ngram.ragged import Ragged, as_ragged
from mnemodex.indexers.scripts import word_pattern
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike
    from tokenizers import Tokenizer

    from mnemodex.indexers.arrays import Bools, Int64s, Integers

    Phrases = Sequence[str] | Ragged | Sequence[ArrayLike] | Integers


_NOWHERE = -1
"""Takes the place of a token that is not in the index."""


class Variants(NamedTuple):
    """The n-grams of some phrases: none, one or two each, of which no two can occur at one place."""

    ngrams: Ragged
    phrase: Int64s
    """The number of each n-gram's phrase, int64 of shape (n-grams,), ascending."""
    empty: list[int]
    """The numbers of phrases without a token."""


class PhraseTokenizer:
    """Turns phrases into the n-grams to look for.

    Byte-pair tokenizers put the space before a word into its token, so that "be" is one token at the beginning of a
    line and another one after a space: a phrase is looked for with and without a space before it. Other white space at
    its ends does not count. A phrase with an unknown token is nowhere: the index does not know which words its own
    unknown tokens replaced. The tokenizer's truncation and padding are off.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._unknown = unknown_token(tokenizer)

    def variants(self, phrases: Phrases) -> Variants:
        """Return the n-grams of phrases: of texts, or of token ids as `FMIndex` takes them, which stay as they are.

        Raises:
            QueryError: there are texts and token ids, or something else.
        """
        if isinstance(phrases, str):
            raise QueryError("give a list of phrases: [phrase]")
        if isinstance(phrases, Ragged | np.ndarray) or not any(isinstance(phrase, str) for phrase in phrases):
            ngrams = as_ragged(phrases)
            return Variants(ngrams, np.arange(len(ngrams)), np.flatnonzero(ngrams.lengths == 0).tolist())
        texts = [_stripped(number, phrase) for number, phrase in enumerate(phrases)]
        plain, spaced = self._encode(texts), self._encode([f" {text}" for text in texts])
        rows = [
            [ids for ids in _distinct(*pair) if ids and self._unknown not in ids]
            for pair in zip(plain, spaced, strict=True)
        ]
        return _variants(rows, plain)

    def pieces(self, texts: Sequence[str], longest: int, is_known: Callable[[list[str]], Bools]) -> Variants:
        """Return the n-grams of texts as they would occur in the middle of running text, each once a text.

        They have 1 to `longest` tokens, none that is unknown, and none of a word that is: the pieces of a word say
        nothing without the others. Words of scripts without spaces are not asked for. Texts are cut with a space before
        them, which only byte-pair tokenizers notice.
        """
        bare = [_stripped(number, text) for number, text in enumerate(texts)]
        spaced = [f" {text}" if text else "" for text in bare]
        words = [[match for match in word_pattern().finditer(text) if not match["run"]] for text in spaced]
        names = sorted({match[0] for row in words for match in row})
        unknown = {name for name, known in zip(names, is_known(names).tolist(), strict=True) if not known}
        encodings = self.tokenizer.encode_batch(spaced, add_special_tokens=False)
        rows = []
        for text, encoding, row in zip(spaced, encodings, words, strict=True):
            starts, ends = np.array(encoding.offsets, np.int64).reshape(-1, 2).T
            ids = np.array([token if token != self._unknown else _NOWHERE for token in encoding.ids], np.int64)
            for match in row:
                if match[0] in unknown:
                    # The space before a word may be a token of its own.
                    first = match.start() - (text[match.start() - 1 : match.start()] == " ")
                    ids[(starts < match.end()) & (ends > first)] = _NOWHERE
            rows.append(_pieces(ids.tolist(), longest))
        return _variants(rows, [encoding.ids for encoding in encodings])

    def texts(self, ngrams: Ragged) -> list[str]:
        """Return the text of each n-gram."""
        rows = [ngrams.part(row, row + 1).values.tolist() for row in range(len(ngrams))]
        return list(self.tokenizer.decode_batch(rows, skip_special_tokens=False))

    def decode(self, tokens: Int64s) -> list[str]:
        """Return the text of each token; byte-pair tokens keep the space before them."""
        distinct, positions = np.unique(tokens, return_inverse=True)
        texts = self.tokenizer.decode_batch([[token] for token in distinct.tolist()], skip_special_tokens=False)
        return [texts[position] for position in positions.tolist()]

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]


def _variants(rows: Sequence[Sequence[Sequence[int]]], encoded: list[list[int]]) -> Variants:
    """Return the n-grams that were found for each text, which has the tokens `encoded`."""
    return Variants(
        Ragged.of([ids for row in rows for ids in row]),
        np.repeat(np.arange(len(rows)), [len(row) for row in rows]),
        [number for number, ids in enumerate(encoded) if not ids],
    )


def _stripped(number: int, phrase: object) -> str:
    if not isinstance(phrase, str):
        raise QueryError(f"phrase {number} is a {type(phrase).__name__}; give all as texts, or all as token ids")
    return phrase.strip()


def _pieces(ids: list[int], longest: int) -> list[tuple[int, ...]]:
    """Return the distinct n-grams of a text that may be somewhere, in their order."""
    ngrams = (
        tuple(ids[start : start + length]) for length in range(1, longest + 1) for start in range(len(ids) - length + 1)
    )
    return [ngram for ngram in dict.fromkeys(ngrams) if _NOWHERE not in ngram]


def _distinct(one: list[int], other: list[int]) -> list[list[int]]:
    """Return two n-grams, or the shorter one if it ends the longer: it occurs wherever that does."""
    shorter, longer = sorted((one, other), key=len)
    return [shorter] if longer[len(longer) - len(shorter) :] == shorter else [one, other]
