"""Which words of a parsed sentence answer a question."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.models.phrases import bracketed, entity_answer, is_person, is_value, noun_answer, phrase
from mnemodex.indexers.stems import STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spacy.tokens import Doc, Token

    from mnemodex.indexers.models.phrases import Tokens

_PEOPLE = frozenset({"PERSON", "ORG", "NORP"})
_PLACES = frozenset({"GPE", "LOC", "FAC"})
_TIMES = frozenset({"DATE", "TIME"})
_COUNTS = frozenset({"CARDINAL", "QUANTITY", "PERCENT", "MONEY"})
_REASON = "reason"
_BY_WORD = {
    "who": _PEOPLE,
    "whom": _PEOPLE,
    "whose": _PEOPLE,
    "when": _TIMES,
    "where": _PLACES,
    "why": frozenset({_REASON}),
}
_BY_NOUN = (
    (re.compile(r"(?:year|date|day|month|century|decade|time|period|era)$"), _TIMES),
    (re.compile(r"(?:country|city|state|town|nation|place|location|continent|county|province|region|area)$"), _PLACES),
    (re.compile(r"(?:percentage|percent)$"), frozenset({"PERCENT"})),
    (re.compile(r"(?:number|amount|population|size|distance|age|height|length|cost|price)$"), _COUNTS),
)
_MEASURED = {"many", "long", "old", "far", "tall", "high", "large", "big", "deep", "fast", "wide"}
_QUESTION_TAGS = {"WP", "WDT", "WRB", "WP$"}
_PATIENTS = {"dobj", "nsubjpass", "oprd", "attr"}
_COUNTING = {"nummod", "amod", "compound", "nmod"}
_FAR = 20
"""Tokens between a phrase and the question's words beyond which it is no matter how far they are."""
_SHORT = 8
"""Tokens of a noun with what stands before it."""


class _Features(NamedTuple):
    """What is known of a phrase as an answer, or what each is worth.

    Attributes:
        sentence: how many of the question's words its sentence has, see `nearest_sentences`.
        nearest: 1 if no sentence has more.
        kind: 1 if it is of the kind that the question word asks for, -1 if it is of another one.
        value: 1 if it is a number or a time, and nothing of the kind is asked for.
        counts: 1 if it counts the noun that is asked for.
        role: 1 if it is to its verb what the question word is: who does something, or what it is done to.
        governor: 1 if it depends on the same word.
        near, nearer: mean and largest closeness to the question's words, 1 / (1 + steps in the parse).
        shared: words that the question has too.
        length: its tokens, in fours.
        entity: 1 if it is a named entity.
        distance: tokens between it and the nearest of the question's words, in tens.
        verb: 1 if the question has the verb that it belongs to.
        noun: 1 if it has the noun that is asked for.
        single: 1 if it is one token.
    """

    sentence: float
    nearest: float
    kind: float
    value: float
    counts: float
    role: float
    governor: float
    near: float
    nearer: float
    shared: float
    length: float
    entity: float
    distance: float
    verb: float
    noun: float
    single: float


_WEIGHTS = np.array(
    _Features(
        sentence=0.9,
        nearest=0.9,
        kind=1.2,
        value=-0.1,
        counts=0.4,
        role=0.5,
        governor=0.5,
        near=0.2,
        nearer=0.5,
        shared=-0.1,
        length=0.15,
        entity=0.3,
        distance=-0.9,
        verb=0.8,
        noun=0.7,
        single=-0.4,
    )
)
"""Fitted by a softmax over the candidates of each question to every second article of a part of SQuAD."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a question asks for.

    Attributes:
        kinds: labels of the entities that answer it; empty for noun phrases of any kind.
        noun: the lemma of the noun that is asked about, as "point" in "How many points"; empty without one.
        role: what it is to its verb: `agent`, `patient`, `prep`, or empty.
        governor: the lemma of the word that it depends on.
        words: lemmas of the question's words that mean something.
    """

    kinds: frozenset[str]
    noun: str
    role: str
    governor: str
    words: frozenset[str]


class _Candidate(NamedTuple):
    """A possible answer: its words, the one that the others depend on, and what it is."""

    places: Tokens
    head: Token
    label: str
    is_entity: bool = False


def best_answer(question: Doc, near: Sequence[tuple[Doc, float]]) -> str | None:
    """Return the best answer to a question in some sentences with their scores, best first, or None."""
    asked = _understand(question)
    found = [
        (candidate, doc, features)
        for number, (doc, score) in enumerate(near)
        for candidate, features in _judged(doc, asked, score, is_nearest=number == 0)
    ]
    if not found:
        return None
    best = int(np.argmax(np.array([features for *_, features in found]) @ _WEIGHTS))
    (places, *_), doc, _ = found[best]
    return doc[min(places) : max(places) + 1].text


def _understand(question: Doc) -> _Asked:
    """Return what a question asks for."""
    words = frozenset(_lemma(token) for token in question if _means(token))
    word = next((token for token in question if token.tag_ in _QUESTION_TAGS), None)
    if word is None:
        return _Asked(frozenset(), "", "", "", words)
    target = word
    while target.pos_ not in {"NOUN", "PROPN"} and target.dep_ in {"det", "poss", "amod", "advmod"}:
        if target.dep_ == "advmod" and target.head.lower_ not in {"many", "much"}:
            break
        target = target.head
    noun = _lemma(target) if target.pos_ in {"NOUN", "PROPN"} else ""
    return _Asked(_kinds(word, noun), noun, _role(target), _lemma(_governor(target)), words)


def _kinds(word: Token, noun: str) -> frozenset[str]:
    if word.lower_ in _BY_WORD:
        return _BY_WORD[word.lower_]
    following = word.nbor(1).lower_ if word.i + 1 < len(word.doc) else ""
    if word.lower_ == "how" and (following == "much" or following in _MEASURED):
        return _COUNTS
    return next((kinds for pattern, kinds in _BY_NOUN if pattern.search(noun)), frozenset())


def _lemma(token: Token) -> str:
    return str(token.lemma_.lower())


def _means(token: Token) -> bool:
    return token.text[:1].isalnum() and token.lower_ not in STOP_WORDS


def _governor(token: Token) -> Token:
    """Return the word that a phrase depends on, behind prepositions."""
    token = token.head
    while token.pos_ == "ADP" and token.head.i != token.i:
        token = token.head
    return token


def _role(token: Token) -> str:
    while token.dep_ == "conj":
        token = token.head
    if token.dep_ == "pobj":
        return "agent" if token.head.dep_ == "agent" else "prep"
    return "agent" if token.dep_ == "nsubj" else "patient" if token.dep_ in _PATIENTS else ""


def _judged(doc: Doc, asked: _Asked, score: float, *, is_nearest: bool) -> Iterator[tuple[_Candidate, _Features]]:
    """Yield the possible answers in a sentence, with what is known of them."""
    shared = [token for token in doc if _means(token) and _lemma(token) in asked.words]
    chains = {token.i: _chain(token) for token in shared}
    for candidate in _candidates(doc):
        places, head, label, is_entity = candidate
        words = {_lemma(doc[i]) for i in places if _means(doc[i])}
        if not words or words <= asked.words:
            continue
        verb = next((token for token in head.ancestors if token.pos_ in {"VERB", "AUX"}), None)
        governor = _lemma(_governor(head))
        others = [i for i in chains if i not in places]
        near = [_closeness(head, chains[i]) for i in others]
        distance = min((min(abs(i - min(places)), abs(i - max(places))) for i in others), default=_FAR)
        yield (
            candidate,
            _Features(
                sentence=score,
                nearest=is_nearest,
                kind=0.0 if not asked.kinds else 1.0 if label in asked.kinds else -1.0,
                value=not asked.kinds and label in _COUNTS | _TIMES,
                counts=asked.noun != "" and governor == asked.noun and head.dep_ in _COUNTING,
                role=asked.role != "" and _role(head) == asked.role,
                governor=governor == asked.governor,
                near=sum(near) / len(near) if near else 0.0,
                nearer=max(near, default=0.0),
                shared=len(words & asked.words),
                length=len(places) / 4,
                entity=is_entity,
                distance=min(distance, _FAR) / 10,
                verb=verb is not None and _lemma(verb) in asked.words,
                noun=asked.noun != "" and any(_lemma(token) == asked.noun for token in (head, *head.children)),
                single=len(places) == 1,
            ),
        )


def _closeness(token: Token, chain: dict[int, int]) -> float:
    """Return 1 / (1 + the steps in the parse to the word whose chain is given); 0 without a way."""
    steps = [up + chain[i] for i, up in _chain(token).items() if i in chain]
    return 1 / (1 + min(steps)) if steps else 0.0


def _chain(token: Token) -> dict[int, int]:
    """Return the places of a token and of the words above it, with the steps up to each."""
    return {above.i: steps for steps, above in enumerate((token, *token.ancestors))}


def _candidates(doc: Doc) -> Iterator[_Candidate]:
    """Yield entities, numbers, reasons, and noun phrases with and without what stands after the noun."""
    cut = bracketed(doc[:])
    for entity in doc.ents:
        yield _Candidate(entity_answer(entity.root), entity.root, entity.label_, is_entity=True)
    for token in doc:
        if token.lower_ in {"because", "due"} and token.i + 1 < len(doc):
            head = token.head if token.dep_ == "mark" else token
            first = token.i + 1 + (token.nbor(1).lower_ in {"of", "to"})
            if first <= head.right_edge.i:
                yield _Candidate(frozenset(range(first, head.right_edge.i + 1)), head, _REASON)
        elif token.pos_ == "NUM" and not token.ent_type_:
            yield _Candidate(frozenset({token.i}), token, "CARDINAL")
        elif token.pos_ in {"NOUN", "PROPN"} and token.dep_ != "compound":
            yield from _nouns(token, cut)


def _nouns(token: Token, cut: Tokens) -> Iterator[_Candidate]:
    label = token.ent_type_ if is_value(token) else "PERSON" if is_person(token) else ""
    places = noun_answer(token, phrase(token, cut), cut)
    if places is not None:
        yield _Candidate(places, token, label)
    before = range(token.left_edge.i, token.i + 1)
    short = frozenset(before[1:] if token.left_edge.pos_ == "DET" else before)
    if short != places and 0 < len(short) <= _SHORT:
        yield _Candidate(short, token, label)
