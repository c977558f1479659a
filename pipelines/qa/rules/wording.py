"""Words of a question: how a phrase is written in it, and forms of verbs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnemodex.indexers.models.phrases import CLAUSE_MARKS, NAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spacy.tokens import Span, Token

_NO_NAMES: Mapping[int, str] = {}
_IRREGULAR = {"have": "has", "do": "does", "be": "is", "go": "goes"}
_PLURAL = {"are": "is", "were": "was", "have": "has", "do": "does", "'re": "is", "\u2019re": "is", "'ve": "has"}
_SIBILANT = re.compile(r"(?:s|x|z|ch|sh|[^aeiou]o)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")


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
    return token.dep_ == "punct" and token.text in CLAUSE_MARKS | {"."}


def lower_first(text: str, first: Token, proper: frozenset[str]) -> str:
    """Return a phrase as it is written inside a sentence; a name, as those in `proper`, keeps its capital."""
    named = (
        first.pos_ == "PROPN"
        or (first.text in proper and first.pos_ != "DET")
        or (first.ent_type_ in NAMED and first.pos_ != "DET")
    )
    # A noun in the singular that no article precedes may be a name that the tagger does not know.
    if named or first.text == "I" or not first.is_title or (first.tag_ == "NN" and not first.ent_type_):
        return text
    return text[:1].lower() + text[1:]


def base(verb: Token) -> str:
    """Return the infinitive of a verb."""
    return verb.text.lower() if verb.tag_ in {"VB", "VBP"} and verb.lemma_ != "be" else verb.lemma_


def is_plural(noun: Token, verb: Token) -> bool:
    """Return whether a subject is more than one, taking "do"; the verb decides for names, which look alike."""
    if noun.tag_ == "PRP":
        return noun.lower_ in {"they", "you", "we", "i"}
    many = noun.tag_ in {"NNS", "NNPS"} or any(child.dep_ == "conj" for child in noun.children)
    return many or (verb.tag_ == "VBP" and noun.tag_ == "NNP")


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
