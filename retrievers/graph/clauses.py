"""Clauses of a question that describe a thing without its name: "the city where the Philbrook Museum is located"."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mnemodex.indexers.graph.names import names_in
from mnemodex.retrievers.graph.mentions import MENTIONED, Mentions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spacy.tokens import Doc, Token

    from mnemodex.indexers.graph.words import WordCounts

_MOST = 2
"""Clauses of a question."""
_NOUNS = {"NOUN", "PROPN"}
_BESIDE = {"conj", "appos"}
"""Relations to a noun that names something else, or the same thing again: what holds both describes neither."""


class Clause(NamedTuple):
    """A noun phrase of a question that describes a thing by a name that is in it.

    Attributes:
        mention: the name.
        start: the place of its first character in the question.
        end: the place after its last one.
    """

    mention: str
    start: int
    end: int

    def replaced(self, question: str, name: str) -> str:
        """Return the question with a name in the place of the clause."""
        return question[: self.start] + name + question[self.end :]


def clauses_of(doc: Doc, facts: Iterable[tuple[str, str, str]], counts: WordCounts) -> list[Clause]:
    """Return at most two clauses around the names in a question, first that of the rarest name.

    Names are those that are written so, and the ends of facts that the question mentions.

    Args:
        doc: the parsed question.
        facts: subject, predicate and object of the facts that are near to it.
        counts: of the words of passages.
    """
    names = dict.fromkeys([*names_in(doc.text), *(end for fact in facts for end in (fact[0], fact[2]))])
    mentions = Mentions(doc.text, counts, names)
    mentioned = [name for name in names if mentions.coverage(name) >= MENTIONED]
    found: dict[tuple[int, int], Clause] = {}
    for name in sorted(mentioned, key=mentions.weight, reverse=True):
        span = mentions.span(name)
        around = clause_around(doc, *span) if span else None
        if around is not None:
            found.setdefault(around, Clause(name, *around))
    return list(found.values())[:_MOST]


def clause_around(doc: Doc, start: int, end: int) -> tuple[int, int] | None:
    """Return start and end of the least noun phrase around a part of a question, in characters; None without one.

    From the part's head the parse is climbed to the first noun outside, not over what is coordinated or in apposition.
    A phrase that a question word begins is what the question asks for, and is passed over.
    """
    part = doc.char_span(start, end, alignment_mode="expand")
    if part is None:
        return None
    token: Token = part.root
    while token.head.i != token.i and token.dep_ not in _BESIDE:
        token = token.head
        left, right = doc[token.left_edge.i], doc[token.right_edge.i]
        covers = left.i <= part.start and part.end <= right.i + 1
        outside = not part.start <= token.i < part.end
        if token.pos_ in _NOUNS and covers and outside and not _asks(left):
            return left.idx, right.idx + len(right)
    return None


def _asks(token: Token) -> bool:
    """Return whether a word is a question word, by the tags of the Penn Treebank or by Universal Dependencies."""
    return token.tag_ in {"WDT", "WP", "WP$", "WRB"} or "Int" in token.morph.get("PronType", [])
