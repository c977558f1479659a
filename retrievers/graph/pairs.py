"""Questions about two things at once: "Which film is older, Alien or Jaws?" is asked of each."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from mnemodex.indexers.graph.names import names_in

_BETWEEN = re.compile(r"\b(?:or|and)\b", re.IGNORECASE)
"""English words: a question in another language is taken for one without a pair."""
_WORDS = 6
"""Most words between the names of a pair."""


class Pair(NamedTuple):
    """Two names that a question joins.

    Attributes:
        names: the two, in their order.
        alone: the question with the one name and without the other, in the order of the names.
        before: the question up to the first name.
        after: the question from the end of the second one.
    """

    names: tuple[str, str]
    before: str
    after: str

    def replaced(self, name: str) -> str:
        """Return the question with a name in the place of both."""
        return self.before + name + self.after


def pair_of(question: str) -> Pair | None:
    """Return the last two neighbouring names of a question that "or" or "and" joins, within six words."""
    spans, end = [], 0
    for name in sorted(set(names_in(question)), key=question.find):
        start = question.find(name, end)
        if start >= 0:
            end = start + len(name)
            spans.append((name, start, end))
    for (first, a, b), (second, c, d) in reversed(list(pairwise(spans))):
        between = question[b:c]
        if _BETWEEN.search(between) and len(between.split()) <= _WORDS:
            return Pair((first, second), question[:a], question[d:])
    return None
