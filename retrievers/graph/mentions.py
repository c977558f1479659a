"""Names that a question mentions: how much of a name is in it, and the question without one."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.words import forms, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.graph.words import Word, WordCounts

MENTIONED, ABSENT = 0.8, 0.5
"""Coverage from which a name counts as being in a question, and below which it counts as absent."""


class Mentions:
    """The names that a question mentions, among all that may be looked for: their words are weighed at once."""

    def __init__(self, question: str, counts: WordCounts, names: Iterable[str]) -> None:
        self._question = question
        self._words = split(question)
        self._own = {word.form for word in self._words}
        self._forms = {name: forms(name) for name in names}
        self._weight = counts.weight(self._own.union(*self._forms.values()))
        self._common = counts.common

    def coverage(self, name: str) -> float:
        """Return the part of a name that is in the question, its words weighted by inverse document frequency."""
        return self._share(self._forms[name], self._own)

    def overlap(self, text_forms: set[str]) -> float:
        """Return the part of the question, by the same weights, that is in a text, given by its words' normal forms."""
        return self._share(self._own, text_forms)

    def weight(self, name: str) -> float:
        """Return the sum of the weights of a name's words."""
        return sum(self._weight[form] for form in self._forms[name])

    def is_distinct(self, name: str) -> bool:
        """Return whether half of a name is in the question, with a word that few passages hold."""
        shared = self._forms[name] & self._own
        return any(self._weight[form] >= self._common for form in shared) and self.coverage(name) >= ABSENT

    def _share(self, words: set[str], text: set[str]) -> float:
        total = sum(self._weight[form] for form in words)
        return sum(self._weight[form] for form in words & text) / total if total else 0.0

    def without(self, name: str) -> str:
        """Return the question without a name.

        Pieces that weigh no more than half of the heaviest piece of the name stay: the "of" of a name is in many a
        question a second time.
        """
        texts, end = [], 0
        for start, stop in sorted(self._pieces(self._forms[name])):
            texts.append(self._question[end:start])
            end = max(end, stop)
        text = " ".join([*texts, self._question[end:]])
        return " ".join(_REMAINS.sub(" ", text).split())

    def span(self, name: str) -> tuple[int, int] | None:
        """Return start and end of the longest run of a name's words in the question."""
        pieces = self._pieces(self._forms[name])
        return max(pieces, key=lambda piece: piece[1] - piece[0], default=None)

    def _pieces(self, name: set[str]) -> list[tuple[int, int]]:
        """Return start and end of the runs of the name's words in the question."""
        runs = groupby(self._words, lambda word: word.form in name)
        pieces = [_unrepeated(list(run)) for is_name, run in runs if is_name]
        weights = [sum(self._weight[word.form] for word in piece) for piece in pieces]
        heaviest = max(weights, default=0.0)
        return [
            (piece[0].start, max(word.end for word in piece))
            for piece, weight in zip(pieces, weights, strict=True)
            if weight > heaviest / 2
        ]


_REMAINS = re.compile(r"(?:(?<=\s)|^)(?:['\u2019]s?(?=\s|$)|[\"\u201c\u201d()]+(?=\s|$))")
"""Possessive endings and quotes that were around a name."""


def _unrepeated(piece: list[Word]) -> list[Word]:
    """Return a piece without the words at its ends that it holds again: "of" before "Journal of Physics"."""
    while piece[0].form in {word.form for word in piece[1:]}:
        piece = piece[1:]
    while piece[-1].form in {word.form for word in piece[:-1]}:
        piece = piece[:-1]
    return piece
