"""Words of a question: what is kept of a phrase, how it is written, and forms of verbs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spacy.tokens import Span, Token

Tokens = frozenset[int]
"""Places of tokens in their document."""

_NO_NAMES: Mapping[int, str] = {}
_AFTER_COMMA = {"relcl", "acl", "advcl", "parataxis"}
_MARKS = {",", ";", ":", "\u2014", "\u2013", "--"}
_NAMES = {"GPE", "LOC", "FAC"}
_IRREGULAR = {"have": "has", "do": "does", "be": "is", "go": "goes"}
_PLURAL = {"are": "is", "were": "was", "have": "has", "do": "does", "'re": "is", "\u2019re": "is", "'ve": "has"}
_SIBILANT = re.compile(r"(?:s|x|z|ch|sh|[^aeiou]o)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")


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
    return left.i > 0 and left.nbor(-1).text in _MARKS | {"-"}


def written(places: Iterable[int], sentence: Span, names: Mapping[int, str] = _NO_NAMES) -> str:
    """Return tokens as they are written, or their names, without the marks where something was left out."""
    doc, kept = sentence.doc, set(places)
    ordered = [i for i in sorted(kept) if not doc[i].is_space and (not _is_mark(doc[i]) or {i - 1, i + 1} <= kept)]
    text = ""
    for number, i in enumerate(ordered):
        text += names.get(i, doc[i].text)
        follows = number + 1 < len(ordered) and ordered[number + 1] == i + 1
        text += doc[i].whitespace_ if follows else " "
    return text.strip()


def _is_mark(token: Token) -> bool:
    return token.dep_ == "punct" and token.text in _MARKS | {"."}


def lower_first(text: str, first: Token, proper: frozenset[str]) -> str:
    """Return a phrase as it is written inside a sentence; a name, as those in `proper`, keeps its capital."""
    named = first.pos_ == "PROPN" or first.text in proper or (first.ent_type_ and first.pos_ != "DET")
    if named or first.text == "I" or not first.is_title:
        return text
    return text[:1].lower() + text[1:]


def base(verb: Token) -> str:
    """Return the infinitive of a verb."""
    return verb.text.lower() if verb.tag_ in {"VB", "VBP"} and verb.lemma_ != "be" else verb.lemma_


def third_person(verb: Token) -> str:
    """Return a finite verb or auxiliary as it follows "who" or "what"."""
    word = verb.text.lower()
    if word in _PLURAL:
        return _PLURAL[word]
    if verb.tag_ != "VBP":
        return word
    word = base(verb)
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if _CONSONANT_Y.search(word):
        return f"{word[:-1]}ies"
    return f"{word}es" if _SIBILANT.search(word) else f"{word}s"
