"""Replacements of a phrase in a question: the other ends of its facts, and names in sentences that mention it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.names import names_in, plain_title, sentences
from mnemodex.indexers.graph.words import forms
from mnemodex.retrievers.graph.mentions import ABSENT, MENTIONED, Mentions
from mnemodex.retrievers.graph.rewriting import READ

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.graph.words import WordCounts
    from mnemodex.retrievers.graph.space import Passage

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DATE = re.compile(rf"(?:\W*(?:{_MONTHS})\b)?[\W\d_]*", re.IGNORECASE)
"""Numbers, and dates as English writes them: they join things that have nothing else in common."""


def fact_ends(
    facts: Sequence[tuple[str, str, str]],
    phrase: str,
    question: str,
    counts: WordCounts,
    *,
    most: int,
    holds: float = 0,
) -> list[str]:
    """Return those ends of facts that a question lacks and whose other end a phrase of it mentions, in their order.

    Args:
        facts: subject, predicate and object of each, best first.
        phrase: a part of the question, or the question's name of something.
        question: what the ends must not be in.
        counts: of the words of passages.
        most: how many ends are returned.
        holds: the part of the phrase that the other end must cover.
    """
    ends = {end for subject, _, object_ in facts for end in (subject, object_)}
    inside, asked = Mentions(phrase, counts, ends), Mentions(question, counts, ends)
    pairs = [pair for subject, _, object_ in facts for pair in ((subject, object_), (object_, subject))]
    return _first(
        (
            other
            for end, other in pairs
            if inside.coverage(end) >= MENTIONED and (not holds or inside.overlap(forms(end)) >= holds)
        ),
        asked,
        most,
    )


def names_near(passages: Iterable[Passage], mention: str, question: str, counts: WordCounts, *, most: int) -> list[str]:
    """Return the names that a question lacks, of those sentences of passages that hold a mention, in their order.

    A passage's title counts as a part of each of its sentences.
    """
    sought = Mentions(mention, counts, ())
    names: list[str] = []
    for title, text in passages:
        title_name = plain_title(title)
        for sentence in sentences(text[:READ]):
            if sought.overlap(forms(f"{title} {sentence}")) >= MENTIONED:
                names += [title_name, *names_in(sentence)] if title_name else names_in(sentence)
    return _first(names, Mentions(question, counts, names), most)


def _first(names: Iterable[str], asked: Mentions, most: int) -> list[str]:
    """Return the first names that a question lacks, that are no dates, and that differ in more than case."""
    chosen: dict[str, str] = {}
    for name in names:
        if len(chosen) < most and asked.coverage(name) < ABSENT and not _DATE.fullmatch(name):
            chosen.setdefault(name.casefold(), name)
    return list(chosen.values())
