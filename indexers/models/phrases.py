"""Phrases of parsed English: their words without asides, and what of them can be an answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spacy.tokens import Span, Token

Tokens = frozenset[int]
"""Places of tokens in their document."""

LONGEST = 12
"""Tokens of an answer."""
_PEOPLE = re.compile(
    r"(?:activist|actor|actress|admiral|ally|ancestor|architect|army|artist|astronaut|assistant|athlete|attorney|author|baron|bishop|"
    r"boy|brother|captain|cardinal|chairman|champion|chancellor|chief|child|citizen|civilian|clergy|coach|"
    r"colonist|commander|composer|conductor|consumer|count|critic|customer|daughter|dealer|delegate|descendant|designer|"
    r"director|doctor|duke|emperor|employee|employer|engineer|expert|explorer|family|farmer|father|fisherman|follower|"
    r"founder|general|girl|god|governor|historian|hunter|husband|immigrant|inhabitant|inventor|investor|"
    r"journalist|judge|king|knight|labourer|lawyer|leader|legislator|lord|man|manager|master|mayor|member|"
    r"merchant|minister|missionary|monarch|monk|mother|musician|native|nobleman|nun|officer|official|opponent|"
    r"owner|painter|parent|parliament|patient|peasant|people|performer|pharmacist|philosopher|physician|pilot|"
    r"pioneer|player|poet|politician|pope|premier|president|priest|prime|prince|princess|prisoner|producer|"
    r"professor|prophet|protester|proponent|queen|rebel|refugee|researcher|resident|ruler|sailor|scholar|scientist|secretary|senator|"
    r"settler|shareholder|singer|sister|slave|soldier|son|spokesman|student|successor|supporter|surgeon|teacher|"
    r"theologian|theorist|trader|translator|traveler|tribe|visitor|voter|warrior|widow|wife|winner|woman|worker|"
    r"writer|youth)$"
)
_PERSON_ENDING = re.compile(r".{3,}(?:ologist|icist|emist|ician|ographer)$")
_POINTING = re.compile(
    r"(?:this|these|those|such|others?|another|its?|them|their|his|her|which|same|no|neither|following|above)$"
)
"""Words of what is no answer without its passage."""
_TRAILING = {",", ";", ":", ".", "-", "\u2013", "\u2014", "'", '"', "\u201d"}
_CIRCUMSTANCES = {"DATE", "TIME", "GPE", "LOC", "FAC", "EVENT"}
_VALUES = {"DATE", "TIME", "CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"}
NAMED = {"PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "EVENT", "PRODUCT", "WORK_OF_ART", "LAW", "LANGUAGE"}
"""Labels of entities that have names."""
CLAUSE_MARKS = {",", ";", ":", "\u2014", "\u2013", "--"}
_AFTER_COMMA = {"relcl", "acl", "advcl", "parataxis"}
_NAMES = {"GPE", "LOC", "FAC"}


def bracketed(sentence: Span) -> Tokens:
    """Return the tokens of a sentence that are in brackets, brackets included, or between two dashes."""
    inside: set[int] = set()
    depth, dash = 0, -1
    for token in sentence:
        if token.text in "([":
            depth += 1
        if depth:
            inside.add(token.i)
        if token.text in ")]":
            depth = max(0, depth - 1)
        if token.text in {"\u2014", "\u2013", "--"} and not depth and token.dep_ == "punct" and token.whitespace_:
            if dash >= 0:
                inside.update(range(dash, token.i + 1))
            dash = -1 if dash >= 0 else token.i
    return frozenset(inside)


def phrase(token: Token, cut: Tokens = frozenset()) -> Tokens:
    """Return the tokens below one that belong to its phrase, without asides: what is in `cut` or after a comma."""
    kept: set[int] = set()
    waiting = [token]
    while waiting:
        word = waiting.pop()
        kept.add(word.i)
        waiting += [child for child in word.children if child.i not in cut and not _is_aside(child, word)]
    return frozenset(kept)


def _is_aside(token: Token, head: Token) -> bool:
    if token.dep_ == "appos":
        return not (token.ent_type_ in _NAMES and head.ent_type_ in _NAMES) and token.i > head.i + 1
    if token.dep_ in _AFTER_COMMA or (token.dep_ == "prep" and head.pos_ in {"NOUN", "PROPN"}):
        return follows_comma(token)
    return token.dep_ in {"intj", "meta", "parataxis", "preconj"}


def follows_comma(token: Token) -> bool:
    """Return whether a mark that separates clauses stands before what depends on a token."""
    left = token.left_edge
    return left.i > 0 and left.nbor(-1).text in CLAUSE_MARKS | {"-"}


def noun_answer(token: Token, words: Tokens, cut: Tokens = frozenset()) -> Tokens | None:
    """Return the tokens of a noun's phrase, `words`, as an answer: consecutive, without times and places at its end.

    Returns None for what says nothing alone (a pronoun, "others") and what is too long.
    """
    if token.pos_ not in {"NOUN", "PROPN"}:
        return None
    if (
        token.ent_type_ == "PERSON"
        and token.pos_ == "PROPN"
        and not any(child.dep_ == "conj" for child in token.children)
    ):
        return _entity(token)
    places = set(words)
    for child in token.children:
        if child.i > token.i and child.dep_ == "prep" and child.lower_ != "of" and _is_circumstance(child):
            places -= phrase(child, cut)
    doc = token.doc
    start, end = _consecutive(token, places)
    if token.pos_ == "PROPN" and doc[start].lower_ == "the" and end - start > 1:
        start += 1
    # What stands apart before the noun is part of its name.
    is_torn = any(i < start for i in places if doc[i].dep_ not in {"punct", "det"})
    return None if is_torn or end - start > LONGEST or points(doc[start:end]) else frozenset(range(start, end))


def _consecutive(token: Token, places: set[int]) -> tuple[int, int]:
    """Return the first and the end of the places around a token that have no gap, without what joins them to others."""
    doc, start, end = token.doc, token.i, token.i + 1
    while end in places:
        end += 1
    while start - 1 in places:
        start -= 1
    while end - 1 > token.i and (
        doc[end - 1].text in _TRAILING or doc[end - 1].dep_ in {"cc", "prep", "punct", "advmod", "neg"}
    ):
        end -= 1
    while start < token.i and (doc[start].text in _TRAILING or doc[start].dep_ in {"cc", "punct", "preconj"}):
        start += 1
    return start, end


def points(words: Iterable[Token]) -> bool:
    """Return whether words mean something only next to their passage: "this lamp", "its colour"."""
    return any(_POINTING.match(word.lower_) for word in words)


def _is_circumstance(preposition: Token) -> bool:
    return any(child.ent_type_ in _CIRCUMSTANCES for child in preposition.children if child.dep_ == "pobj")


def _entity(token: Token) -> Tokens:
    """Return the tokens of the entity that a token is in, without the end of a genitive."""
    # Not from `doc.ents`, which makes the spans of all entities of the text each time.
    doc, start, end = token.doc, token.i, token.i + 1
    while doc[start].ent_iob_ == "I":
        start -= 1
    while end < len(doc) and doc[end].ent_iob_ == "I":
        end += 1
    while end - 1 > start and doc[end - 1].tag_ in {"POS", "PUNCT", ","}:
        end -= 1
    return frozenset(range(start, end))


def entity_answer(token: Token) -> Tokens:
    """Return the tokens of the entity that a token is in, without an article."""
    places = _entity(token)
    first = min(places)
    return places - {first} if len(places) > 1 and token.doc[first].pos_ == "DET" else places


def is_person(token: Token) -> bool:
    """Return whether a noun means people."""
    if token.ent_type_ in {"PERSON", "NORP"} and token.pos_ == "PROPN":
        return True
    lemma = token.lemma_.lower()
    return token.pos_ in {"NOUN", "PROPN"} and (_PEOPLE.match(lemma) or _PERSON_ENDING.match(lemma)) is not None


def is_value(token: Token) -> bool:
    """Return whether a noun is in a date, a time or a number."""
    return token.ent_type_ in _VALUES
