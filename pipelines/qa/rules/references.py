"""What pronouns and short names mean: names that a question can say without its passage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.names import plain_title
from mnemodex.indexers.models.phrases import bracketed, is_person, phrase, points
from mnemodex.pipelines.qa.rules.wording import lower_first, written

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span, Token

    from mnemodex.indexers.models.phrases import Tokens

_PERSON, _THING, _PLURAL = "person", "thing", "plural"
_PRONOUNS = {
    "he": _PERSON,
    "she": _PERSON,
    "his": _PERSON,
    "her": _PERSON,
    "it": _THING,
    "its": _THING,
    "they": _PLURAL,
    "their": _PLURAL,
}
_SUBJECTS = {"nsubj", "nsubjpass"}
_LONGEST = 6
"""Words of what is put in place of a pronoun."""
_GUESS = -0.4
_FAR_GUESS = -0.8


@dataclass(slots=True)
class References:
    """What the tokens of a text mean.

    Attributes:
        names: what is written in place of a token; empty where it is left out.
        doubts: log-probabilities that this is right.
        unknown: pronouns and the like whose meaning is not known.
        people: last words of the names of people.
        proper: words that have a capital within a sentence.
    """

    names: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, float] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    proper: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    def is_person(self, noun: Token) -> bool:
        """Return whether a name is the last word of somebody's."""
        return noun.text in self.people


def resolve(doc: Doc, title: str) -> References:
    """Return what pronouns and surnames in a text mean: the last subject before them that fits, or the title."""
    proper = frozenset(token.text for token in doc if token.is_title and not token.is_sent_start)
    people = _people(doc, title)
    found = References(proper=proper, people=frozenset(people))
    title = plain_title(title)
    last: dict[str, str] = {}
    if title in people.values():
        last[_PERSON] = title
    from_title = set(last)
    for sentence in doc.sents:
        cut = bracketed(sentence)
        for token in sentence:
            if token.ent_type_ == "PERSON":
                _expand(token, people, found)
            kind = _PRONOUNS.get(token.lower_)
            if token.tag_ in {"PRP", "PRP$"}:
                _resolve(token, kind, last, from_title, found)
            elif (
                token.tag_ in {"DT", "WDT", "WP"}
                and token.dep_ != "det"
                and token.lower_ not in {"that", "which", "who"}
            ):
                found.unknown.add(token.i)
            if token.dep_ in _SUBJECTS and token.tag_ not in {"PRP", "WDT", "WP", "DT", "EX"}:
                name = _name(token, cut, sentence, found)
                if name and (_kind(token) == _PERSON or _is_main(token)):
                    last[_kind(token)] = name
                    from_title.discard(_kind(token))
    return found


def _resolve(token: Token, kind: str | None, last: dict[str, str], from_title: set[str], found: References) -> None:
    if token.lower_ in {"you", "your"} or token.lower_.endswith(("self", "selves")):
        return
    is_subject = token.dep_ in _SUBJECTS
    if token.dep_ == "poss" and kind is not None and not _in_subject(token) and _fits_subject(token, kind):
        # What its own clause is about; the question says that too.
        found.doubts[token.i] = -0.2
        return
    if kind is None or kind not in last or not (is_subject or token.dep_ == "poss"):
        found.unknown.add(token.i)
        return
    name = last[kind]
    if token.dep_ == "poss" and " of " in name:
        found.unknown.add(token.i)
        return
    if token.dep_ == "poss":
        name += "'" if name.endswith("s") else "'s"
    found.names[token.i] = name
    found.doubts[token.i] = _FAR_GUESS if kind in from_title or kind == _THING else _GUESS


def _in_subject(token: Token) -> bool:
    while token.head.i != token.i and token.pos_ not in {"VERB", "AUX"}:
        if token.dep_ in _SUBJECTS:
            return True
        token = token.head
    return False


def _fits_subject(token: Token, kind: str) -> bool:
    """Return whether a possessive may mean the subject of its own clause."""
    verb = next((above for above in token.ancestors if above.pos_ in {"VERB", "AUX"}), None)
    while verb is not None:
        subject = next((child for child in verb.children if child.dep_ in _SUBJECTS), None)
        if subject is not None:
            own = _PRONOUNS.get(subject.lower_) or _kind(subject)
            return own == kind or subject.tag_ in {"WDT", "WP"} or (own == _THING and is_person(subject))
        verb = verb.head if verb.dep_ in {"conj", "xcomp", "advcl"} else None
    return True


def _is_main(token: Token) -> bool:
    """Return whether a subject is that of a sentence, not of a clause inside it."""
    verb = token.head
    while verb.dep_ == "conj":
        verb = verb.head
    return verb.dep_ == "ROOT"


def _kind(token: Token) -> str:
    if any(child.dep_ == "conj" for child in token.children) or token.tag_ in {"NNS", "NNPS"}:
        return _PLURAL
    return _PERSON if token.ent_type_ == "PERSON" else _THING


def _name(token: Token, cut: Tokens, sentence: Span, found: References) -> str:
    """Return a subject in words that say it without its sentence, or nothing."""
    places = phrase(token, cut)
    words = [sentence.doc[i] for i in places if i not in found.names]
    if len(places) > _LONGEST or places & found.unknown or points(words):
        return ""
    return lower_first(written(places, sentence, found.names), sentence.doc[min(places)], found.proper)


def _people(doc: Doc, title: str) -> dict[str, str]:
    """Return the full names of people by their last word; a last word that two have is left out."""
    title = plain_title(title)
    full: dict[str, set[str]] = {}
    names = [entity.text for entity in doc.ents if entity.label_ == "PERSON"]
    names = [name.removesuffix("'s").removesuffix("\u2019s").strip() for name in names]
    if title and any(title.split()[-1] == name.split()[-1] for name in names if name):
        names.append(title)
    for name in names:
        if name:
            full.setdefault(name.split()[-1], set()).add(name)
    longest = {last: sorted(known, key=len) for last, known in full.items()}
    return {last: known[-1] for last, known in longest.items() if all(known[-1].endswith(shorter) for shorter in known)}


def _expand(token: Token, people: dict[str, str], found: References) -> None:
    """Write the full name in place of a surname."""
    alone = (token.i == 0 or token.nbor(-1).ent_type_ != "PERSON" or token.ent_iob_ == "B") and token.pos_ == "PROPN"
    if alone and (token.i + 1 == len(token.doc) or token.nbor(1).ent_iob_ != "I"):
        before = token.nbor(-1) if token.i else None
        if before is not None and before.dep_ == "compound" and before.head.i == token.i:
            return
        full = people.get(token.text)
        if full and full != token.text:
            found.names[token.i] = full
