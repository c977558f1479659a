"""The rules: what is asked about a clause, and how sure it is that the question is a good one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnemodex.indexers.models.phrases import LONGEST, entity_answer, is_person, is_value, noun_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spacy.tokens import Token

    from mnemodex.indexers.models.phrases import Tokens
    from mnemodex.pipelines.qa.rules.asking import Asker, Draft
    from mnemodex.pipelines.qa.rules.clauses import Clause

_PLACES = {"GPE", "LOC", "FAC"}
_YEAR_OR_DAY = re.compile(
    r"\b(?:1?\d{3}s?|20\d\ds?|centur|January|February|March|April|May|June|July|August|Septem|Octo|Novem|Decem)"
)
_STATES = {"have", "comprise", "include", "contain", "represent", "cover", "mean", "require", "cause", "drown", "flow"}
_NOBODY = {"GPE", "LOC", "FAC", "ORG", "PRODUCT", "WORK_OF_ART", "LAW", "EVENT"}
_CONTESTS = {"defeat", "beat", "attack", "fight", "face", "sue", "accuse", "blame", "support", "oppose", "conquer"}
_PERSONAL = {
    "argue",
    "believe",
    "marry",
    "die",
    "teach",
    "write",
    "elect",
    "appoint",
    "crown",
    "bear",
    "educate",
    "say",
}
"""Verbs whose subject, in the passive too, is somebody."""
_TIME_WORDS = {"in": "When", "on": "When", "during": "When", "since": "Since when", "until": "Until when"}
_SHORTEST = 4
"""Letters of what is counted; what is shorter is a unit, as "mm"."""
_PLACE_WORDS = {"in", "at", "near"}
_STRANDED = {"of", "with", "to", "from", "for", "into", "as", "on", "about", "against", "by", "through"}


def ask(asker: Asker) -> Iterator[Draft | None]:
    """Yield the questions about a clause."""
    yield from _about_subject(asker)
    yield from _about_definition(asker)
    yield from _about_objects(asker)
    yield from _about_time_and_place(asker)
    yield from _about_numbers(asker)
    yield from _about_reasons(asker)


def _question_word(asker: Asker, token: Token, *, acts: bool) -> str:
    if token.i == asker.clause.subject.i and asker.clause.pronoun in {"who", "which", "that"}:
        return "Who" if asker.clause.pronoun == "who" else _which(token) or "What"
    known = token.pos_ == "PROPN" and asker.references.is_person(token)
    many = token.tag_ == "NNPS" and token.ent_type_ in {"", "NORP"}
    if is_person(token) or known or many or (acts and token.ent_type_ in {"ORG", "GPE"} and token.pos_ == "PROPN"):
        return "Who"
    return _which(token) or "What"


def _about_subject(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    subject = clause.subject
    answer = _noun_answer(subject, clause)
    if answer is None or not _fills(answer, clause.phrase(subject)):
        return
    is_copula = clause.verb.lemma_ == "be" and not clause.auxiliaries
    if is_copula and not any(_is_definite(token) for token in clause.part("attr")):
        return
    acts = not clause.is_passive and any(clause.part("dobj", "xcomp")) and clause.verb.lemma_ not in _STATES
    owns = any(token.lower_ == "its" for token in clause.verb.subtree)
    personal = subject.pos_ == "PROPN" and clause.verb.lemma_ in _PERSONAL
    word = "Who" if personal else _question_word(asker, subject, acts=acts and not owns)
    many = is_copula and any(token.tag_ in {"NNS", "NNPS"} for token in clause.part("attr"))
    score = -0.25 if clause.own_subject else -0.5
    score -= 0.0 if subject.ent_type_ or word != "What" else 0.3
    yield asker.of_subject(word, answer, "subject", score, agree=not word.startswith("Which") and not many)
    owner = next((child for child in subject.children if child.dep_ == "poss" and child.ent_type_ == "PERSON"), None)
    if owner is not None and clause.own_subject:
        yield _whose(asker, owner)


def _noun_answer(token: Token, clause: Clause) -> Tokens | None:
    return None if is_value(token) else noun_answer(token, clause.phrase(token), clause.cut)


def _fills(answer: Tokens, phrase: Tokens) -> bool:
    """Return whether an answer is about all that a phrase says; else the question would lack the rest."""
    return len(phrase - answer) <= 4


def _is_definite(token: Token) -> bool:
    return any(child.lower_ == "the" or child.dep_ == "poss" for child in token.children)


def _whose(asker: Asker, owner: Token) -> Draft | None:
    subject = asker.clause.subject
    rest = [i for i in sorted(asker.clause.phrase(subject)) if i > owner.right_edge.i]
    if not rest:
        return None
    noun = " ".join(asker.doc[i].text for i in rest)
    return asker.of_subject(f"Whose {noun}", entity_answer(owner), "possession", -0.4, agree=False)


def _about_definition(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    if clause.verb.lemma_ != "be":
        return
    for token in clause.part("attr"):
        if clause.subject.tag_ == "NNS" and token.tag_ == "NNP":
            # One of several: "The chairs were Ann Lee; Bob Ray; and Cy Fox."
            continue
        answer = _noun_answer(token, clause)
        if answer is not None and token.i > clause.verb.i:
            who = is_person(clause.subject) or (is_person(token) and clause.subject.ent_type_ not in _NOBODY)
            word = "Who" if who else "What"
            left_out = clause.phrase(token).union(*(clause.phrase(adverb) for adverb in clause.part("advmod")))
            yield asker.of_part(word, answer, left_out, "definition", -0.2)


def _about_objects(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    objects = (*clause.part("dobj", "oprd"),)
    for token in objects or _inner_objects(clause.part("xcomp")):
        answer = _noun_answer(token, clause)
        if answer is not None and not _is_counted(token):
            word = _question_word(asker, token, acts=clause.verb.lemma_ in _CONTESTS)
            left_out = frozenset(i for i in clause.phrase(token) if i <= max(answer))
            yield asker.of_part(word, answer, left_out, "object", -0.25)
    for preposition in clause.part("prep", "agent"):
        for token in preposition.children:
            if token.dep_ != "pobj" or preposition.lower_ not in _STRANDED or preposition.i < clause.verb.i:
                continue
            answer = _noun_answer(token, clause)
            if answer is not None and not _is_counted(token):
                word = _question_word(asker, token, acts=preposition.dep_ == "agent")
                score = -0.3 if preposition.dep_ == "agent" else -0.5 - 0.2 * any(clause.part("dobj"))
                rule = "agent" if preposition.dep_ == "agent" else "prepositional object"
                yield asker.of_part(word, answer, clause.phrase(token), rule, score)


def _is_counted(noun: Token) -> bool:
    """Return whether a noun has a number, which is better asked for."""
    return any(child.dep_ == "nummod" for child in noun.children)


def _inner_objects(verbs: Iterator[Token]) -> Iterator[Token]:
    for verb in verbs:
        yield from (child for child in verb.children if child.dep_ == "dobj")


def _about_time_and_place(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    for part in clause.parts:
        if part.dep_ == "npadvmod" and part.ent_type_ == "DATE":
            yield _when(asker, part, clause.phrase(part), "When")
        for i in clause.phrase(part):
            preposition = asker.doc[i]
            if preposition.dep_ != "prep" or part.dep_ in {"ccomp", "advcl"}:
                continue
            for token in preposition.children:
                if token.dep_ != "pobj":
                    continue
                if token.ent_type_ == "DATE" and preposition.lower_ in _TIME_WORDS:
                    yield _when(asker, token, clause.phrase(preposition), _TIME_WORDS[preposition.lower_])
                elif token.ent_type_ in _PLACES and token.pos_ == "PROPN" and preposition.lower_ in _PLACE_WORDS:
                    answer = _noun_answer(token, clause) or entity_answer(token)
                    if preposition.head.i != clause.verb.i and preposition.head.dep_ != "dobj":
                        continue
                    score = -0.3 if preposition.head.i == clause.verb.i else -0.6
                    yield asker.of_part("Where", answer, clause.phrase(preposition), "place", score)


def _when(asker: Asker, token: Token, left_out: Tokens, word: str) -> Draft | None:
    answer = entity_answer(token)
    text = asker.doc[min(answer) : max(answer) + 1].text
    if not _YEAR_OR_DAY.search(text):
        return None
    return asker.of_part(word, answer, left_out | answer, "time", -0.2)


def _about_numbers(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    if clause.own_subject:
        yield from _how_many(asker, clause.subject, None)
    for token in clause.part("dobj"):
        yield from _how_many(asker, token, token)
        yield from _how_much(asker, token)
    for preposition in clause.part("prep"):
        for token in preposition.children:
            if token.dep_ == "pobj":
                yield from _how_many(asker, token, preposition)


def _how_many(asker: Asker, noun: Token, part: Token | None) -> Iterator[Draft | None]:
    """Ask for the number of a noun in the subject (`part` is None), an object, or behind a preposition."""
    clause = asker.clause
    number = next((child for child in noun.children if child.dep_ == "nummod"), None)
    if (
        number is None
        or number.ent_type_ not in {"CARDINAL", "QUANTITY"}
        or noun.tag_ != "NNS"
        or not noun.is_alpha
        or len(noun) < _SHORTEST
    ):
        return
    if any(child.dep_ == "det" and child.lower_ != "the" for child in noun.children):
        return
    places = clause.phrase(noun)
    counted = sorted(i for i in places if i > number.i and i >= min(noun.left_edge.i, noun.i))
    if any(asker.doc[i].dep_ == "conj" and asker.doc[i].head.i == noun.i for i in counted):
        return
    numbers = frozenset(
        i
        for i in places
        if i <= number.i and asker.doc[i].dep_ in {"compound", "nummod"} and asker.doc[i].pos_ == "NUM"
    )
    answer = frozenset(range(min(numbers), number.i + 1)) if numbers else frozenset({number.i})
    word = f"many {asker.write(counted)}"
    if part is None:
        yield asker.of_subject(f"How {word}", answer, "number", -0.25, agree=False)
    elif part.i == noun.i:
        yield asker.of_part(f"How {word}", answer, places, "number", -0.2)
    else:
        yield asker.of_part(f"{part.text.capitalize()} how {word}", answer, clause.phrase(part), "number", -0.7)


def _how_much(asker: Asker, noun: Token) -> Iterator[Draft | None]:
    if noun.ent_type_ == "MONEY":
        yield asker.of_part("How much money", entity_answer(noun), asker.clause.phrase(noun), "amount", -0.3)


def _about_reasons(asker: Asker) -> Iterator[Draft | None]:
    clause = asker.clause
    for part in clause.part("advcl", "prep"):
        if part.left_edge.lower_ not in {"because", "due"}:
            continue
        places = clause.phrase(part)
        first = part.left_edge.i + 1 + (asker.doc[part.left_edge.i + 1].lower_ in {"of", "to"})
        answer = frozenset(i for i in places if i >= first)
        if answer and len(answer) <= LONGEST + 4 and max(answer) - min(answer) + 1 == len(answer):
            yield asker.of_part("Why", answer, places, "reason", -0.4)


def _which(token: Token) -> str:
    """Return "Which" with a noun that a name precedes: "Which report" of "the Warren report"."""
    if token.pos_ != "NOUN" or is_value(token):
        return ""
    named = any(child.dep_ in {"compound", "nmod"} and child.pos_ == "PROPN" for child in token.children)
    return f"Which {token.text}" if named and token.text.islower() else ""
