"""The n-grams of a text that a model may be trained to write, and how much they have in common with a question."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.models.tokenizers import unknown_token
from mnemodex.indexers.stems import STOP_WORDS
from mnemodex.schemas.ids import hash_columns

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from mnemodex.indexers.arrays import Bools, Float64s, Int32s, Int64s
    from mnemodex.indexers.models.tokenizers import Tokens

_BITS = 52
"""Bits of a random number: so few that no sum with a half rounds up to the next power of two."""


class TokenWords:
    """The words of tokens, and which words have a meaning of their own.

    Tokens are one word where their texts differ in case and in the white space at their ends only: byte-pair tokenizers
    have several tokens of that kind. Stop words (English) and tokens without a letter or digit have no meaning.

    Attributes:
        unknown: the id of the unknown token, None where there is none.
        word: the word of each token id, int32 of shape (largest id + 1,).
        meaningful: whether a word has a meaning, bool of shape (words,).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = sorted(set(tokenizer.get_vocab(with_added_tokens=True).values()))
        texts = tokenizer.decode_batch([[token] for token in ids], skip_special_tokens=False)
        # Parts of a character read as the replacement character, all alike: each stays a word of its own.
        words = [
            f"\ufffd{token}" if "\ufffd" in text else text.strip().casefold()
            for token, text in zip(ids, texts, strict=True)
        ]
        number = {word: number for number, word in enumerate(dict.fromkeys(words))}
        self.unknown = unknown_token(tokenizer)
        self.word = np.zeros(ids[-1] + 1, np.int32)
        self.word[ids] = [number[word] for word in words]
        self.meaningful = np.array(
            [word not in STOP_WORDS and any(map(str.isalnum, word)) for word in number], np.bool_
        )


@dataclass(frozen=True)
class Candidates:
    """The different n-grams of one text: `length` tokens each, or the whole text where it has fewer.

    An n-gram does not begin inside a word, so that a model learns to begin with one, and has no unknown token, since an
    index does not know what such a token replaced. Of equal n-grams only the first is kept.

    Attributes:
        vocabulary: the words of its tokens.
        starts: the n-grams' first tokens, int64 of shape (n-grams,), ascending.
    """

    text: str
    tokens: Tokens
    vocabulary: TokenWords
    starts: Int64s
    length: int

    @classmethod
    def of(cls, text: str, tokens: Tokens, vocabulary: TokenWords, *, length: int) -> Candidates:
        """Find the n-grams of a text. Time and memory grow with its tokens; time also with `length`."""
        length = min(length, len(tokens.ids))
        if not length:
            return cls(text, tokens, vocabulary, np.zeros(0, np.int64), 0)
        starts = np.flatnonzero(_eligible(text, tokens, vocabulary.unknown, length))
        contents = hash_columns([tokens.ids[starts + shift].astype(np.int64) for shift in range(length)])
        different = np.sort(starts[np.unique(contents, return_index=True)[1]])
        return cls(text, tokens, vocabulary, different, length)

    def span(self, start: int) -> str:
        """Return the text of the n-gram that begins with a token."""
        offsets = self.tokens.offsets[start : start + self.length]
        return self.text[offsets[:, 0].min() : offsets[:, 1].max()]

    def overlap(self, question: Int32s) -> Float64s:
        """Return how much n-grams have in common with a question, given by its token ids.

        It is Dice's coefficient of their sets of words with a meaning, float64 of shape (n-grams,): twice the number of
        common words by the sum of both numbers, 0 to 1.
        """
        asked = np.zeros(len(self.vocabulary.meaningful), np.bool_)
        asked[self.vocabulary.word[question]] = True
        asked &= self.vocabulary.meaningful
        overlap: Float64s = 2 * self._count_words(asked) / np.maximum(self._meaningful + asked.sum(), 1)
        return overlap

    @cached_property
    def _meaningful(self) -> Int64s:
        return self._count_words(self.vocabulary.meaningful)

    def _count_words(self, counted: Bools) -> Int64s:
        """Return how many words of each n-gram are counted, int64 of shape (n-grams,); `counted` is of shape (words,).

        A token is the first of its word in the n-grams that begin after the word's former token and reach it: it adds
        one to an interval of them, so that sums over all tokens and n-grams take one pass.
        """
        token = np.flatnonzero(counted[self._words])
        last = len(self._words) - self.length
        first = np.maximum(self._former[token] + 1, token - self.length + 1)
        end = np.minimum(token, last) + 1
        steps = np.bincount(np.minimum(first, end), minlength=last + 2) - np.bincount(end, minlength=last + 2)
        return np.cumsum(steps)[self.starts]

    @cached_property
    def _words(self) -> Int32s:
        return self.vocabulary.word[self.tokens.ids]

    @cached_property
    def _former(self) -> Int64s:
        """The token at which the word of each token came last before it; -1 for none."""
        order = np.argsort(self._words, kind="stable")
        repeated = np.flatnonzero(np.diff(self._words[order]) == 0)
        former = np.full(len(order), -1, np.int64)
        former[order[repeated + 1]] = order[repeated]
        return former


def uniform(doc_id: int, draw: int, starts: Int64s) -> Float64s:
    """Return random numbers between 0 and 1, neither included, that any machine draws alike.

    Each token of `starts` of a document has a number of its own; another draw gives other random numbers.
    """
    columns = [np.full(len(starts), number, np.int64) for number in (doc_id, draw)]
    bits = hash_columns([*columns, starts]) >> (63 - _BITS)
    return (bits + 0.5) / (1 << _BITS)


def _eligible(text: str, tokens: Tokens, unknown: int | None, length: int) -> Bools:
    """Return at which tokens an n-gram may begin: bool of shape (tokens - length + 1,)."""
    characters = np.frombuffer(text.encode("utf-32-le"), dtype="<U1")
    starts = np.minimum.accumulate(tokens.offsets[::-1, 0])[::-1]
    ends = np.maximum.accumulate(tokens.offsets[:, 1])
    # Inside a character, as byte-level tokenizers give several tokens to one, or inside a word.
    letters = np.append(np.strings.isalnum(characters), False)
    inside = np.append(False, starts[1:] < ends[:-1]) | (letters[starts - 1] & letters[starts] & (starts > 0))
    known = np.append(0, np.cumsum(tokens.ids != (-1 if unknown is None else unknown)))
    shown = np.append(0, np.cumsum(~np.strings.isspace(characters)))
    first, last = starts[: len(starts) - length + 1], ends[length - 1 :]
    eligible: Bools = (
        ~inside[: len(first)] & (known[length:] - known[:-length] == length) & (shown[last] > shown[first])
    )
    return eligible
