"""Subject-verb-object triples of parsed English."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spacy.tokens import Doc, Token

_SUBJECTS = {"nsubj", "nsubjpass"}
_OBJECTS = {"dobj", "attr", "oprd", "dative"}
_VERB_PARTS = {"aux", "auxpass", "neg", "prt"}
_IN_NAME = {"compound", "amod", "nummod", "nmod", "poss", "case", "quantmod", "advmod"}


def clauses(doc: Doc) -> Iterator[tuple[str, str, str]]:
    """Triples in the order of the text: verbs with their objects, also behind a preposition; the copula; appositions.

    A relative pronoun stands for what its clause describes, and a verb without a subject of its own has that of the
    verb it is coordinated with. Other pronouns name nothing and are left out.
    """
    for token in doc:
        if token.dep_ in {"appos"} and _names(token.head) and _names(token):
            yield _name(token.head), "is", _name(token)
        if token.pos_ not in {"VERB", "AUX"}:
            continue
        for subject in _subjects(token):
            for preposition, found in _objects(token):
                for object_ in (found, *found.conjuncts):
                    if _names(subject) and _names(object_) and subject.i != object_.i:
                        yield _name(subject), _predicate(token, preposition), _name(object_)


def _subjects(verb: Token) -> list[Token]:
    while True:
        found = [child for child in verb.children if child.dep_ in _SUBJECTS]
        if found or verb.dep_ not in {"conj", "xcomp"} or verb.head.pos_ not in {"VERB", "AUX"}:
            break
        verb = verb.head
    heads = [verb.head if child.tag_ in {"WDT", "WP"} and verb.dep_ == "relcl" else child for child in found]
    # A participle behind a noun is a clause about it: "a letter written by Ada".
    heads += [verb.head] if not found and verb.dep_ == "acl" else []
    return [each for head in heads for each in (head, *head.conjuncts)]


def _objects(verb: Token) -> Iterator[tuple[tuple[str, ...], Token]]:
    """Objects, each with the prepositions before it."""
    for child in verb.children:
        if child.dep_ in _OBJECTS and child.dep_ != "dative":
            yield (), child
        if child.dep_ in {"prep", "agent", "dative"}:
            yield from _behind(child, (child.text,))


def _behind(preposition: Token, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Token]]:
    for child in preposition.children:
        if child.dep_ == "pobj":
            yield words, child
        elif child.dep_ == "prep":
            yield from _behind(child, (*words, child.text))


def _predicate(verb: Token, prepositions: tuple[str, ...]) -> str:
    parts = [child for child in verb.children if child.dep_ in _VERB_PARTS]
    words = [token.text for token in sorted([*parts, verb], key=lambda token: token.i)]
    return " ".join([*words, *prepositions])


def _names(token: Token) -> bool:
    """Whether a noun, and not a pronoun or a clause, stands there."""
    return token.pos_ in {"NOUN", "PROPN", "NUM"} or (token.ent_type_ != "" and token.pos_ != "PRON")


def _name(token: Token) -> str:
    """A noun with the words that belong to its name, without articles."""
    start = token
    inside = {token.i}
    for child in token.subtree:
        if child.i < start.i and _joined(child, token):
            inside.add(child.i)
    begin = min(inside)
    while begin < token.i and token.doc[begin].pos_ in {"DET", "PUNCT"}:
        begin += 1
    end = token.i + 1
    if token.ent_type_:
        entity = next(span for span in token.doc.ents if span.start <= token.i < span.end)
        begin, end = min(begin, entity.start), max(end, entity.end)
        while begin < end - 1 and token.doc[begin].pos_ == "DET":
            begin += 1
    return str(token.doc[begin:end].text)


def _joined(token: Token, head: Token) -> bool:
    """Whether a word before a noun is joined to it by modifiers alone."""
    while token.i != head.i:
        if token.dep_ not in _IN_NAME:
            return False
        token = token.head
    return True
