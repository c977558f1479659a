"""How much of a name is literally in a question, and the question without it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.words import forms, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.graph.words import Word, WordCounts

MENTIONED = 0.8
"""Coverage from which a name counts as being in a question."""
ABSENT = 0.5
"""Coverage below which a name counts as not being in it."""


class Mentions:
    """A question, asked which names it holds.

    Args:
        question: its text.
        counts: in how many passages each word stands.
        names: all names that will be asked about: their words are weighed at once.
    """

    def __init__(self, question: str, counts: WordCounts, names: Iterable[str]) -> None:
        self._question = question
        self._words = split(question)
        self._asked = {word.form for word in self._words}
        self._forms = {name: forms(name) for name in names}
        self._weight = counts.weight(self._asked.union(*self._forms.values()))

    def coverage(self, name: str) -> float:
        """The part of a name that is in the question: each of its words counts by its inverse document frequency."""
        return self._share(self._forms[name], self._asked)

    def overlap(self, text_forms: set[str]) -> float:
        """The part of the question, by the same weights, that is in a text, given by its words' normal forms."""
        return self._share(self._asked, text_forms)

    def weight(self, name: str) -> float:
        """The sum of the weights of a name's words."""
        return sum(self._weight[form] for form in self._forms[name])

    def _share(self, words: set[str], others: set[str]) -> float:
        total = sum(self._weight[form] for form in words)
        return sum(self._weight[form] for form in words & others) / total if total else 0.0

    def without(self, *names: str) -> str:
        """The question without names.

        Pieces that weigh no more than half of the heaviest piece of the name stay: the "of" of a name is in many a
        question a second time.
        """
        gone = [piece for name in names for piece in self._pieces(self._forms[name])]
        kept, end = [], 0
        for start, stop in sorted(gone):
            kept.append(self._question[end:start])
            end = max(end, stop)
        kept.append(self._question[end:])
        return _tidy(" ".join(kept))

    def _pieces(self, name: set[str]) -> list[tuple[int, int]]:
        pieces: list[list[Word]] = []
        adjacent = False
        for word in self._words:
            if word.form not in name:
                adjacent = False
                continue
            if not adjacent:
                pieces.append([])
            pieces[-1].append(word)
            adjacent = True
        pieces = [_unrepeated(piece) for piece in pieces]
        weights = [sum(self._weight[word.form] for word in piece) for piece in pieces]
        heaviest = max(weights, default=0.0)
        return [
            (piece[0].start, max(word.end for word in piece))
            for piece, weight in zip(pieces, weights, strict=True)
            if weight > heaviest / 2
        ]


def _unrepeated(piece: list[Word]) -> list[Word]:
    """A piece without the words at its ends that it holds again: "of" before "Journal of Physics"."""
    while piece[0].form in {word.form for word in piece[1:]}:
        piece = piece[1:]
    while piece[-1].form in {word.form for word in piece[:-1]}:
        piece = piece[:-1]
    return piece


_REMAINS = re.compile(r"(?:(?<=\s)|^)(?:['\u2019]s?(?=\s|$)|[\"\u201c\u201d()]+(?=\s|$))")


def _tidy(text: str) -> str:
    """A text without the possessive endings and the quotes that stood around a name, and with single spaces."""
    return " ".join(_REMAINS.sub(" ", text).split())
