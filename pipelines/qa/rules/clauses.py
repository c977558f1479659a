"""Clauses of a parsed text: a subject, a finite verb, and what belongs to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.indexers.models.phrases import Tokens, bracketed, follows_comma, phrase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spacy.tokens import Span, Token

_FINITE = {"VBD", "VBZ", "VBP", "MD"}
_COMPLEMENTS = {"dobj", "attr", "acomp", "oprd", "dative", "prep", "agent", "xcomp", "ccomp", "npadvmod", "prt"}
_KEPT_CLAUSES = {"if", "when", "unless", "until", "because", "while", "whenever", "after", "before", "since"}
_FACTS = {"ROOT", "conj", "relcl", "advcl"}
_HEDGES = {"if", "unless", "whether", "as", "though", "so", "until", "that", "than", "to", "lest", "once"}
"""Words that begin clauses that say no fact, or none without the rest of their sentence."""
_EMPTY_PHRASES = re.compile(
    r"(?:for (?:example|instance)|in (?:fact|addition|turn|particular|contrast|general|this case)|by contrast|"
    r"of course|at (?:the|that|this|the same) time|during (?:that|this) time|as a result|on the other hand)$"
)
_RELATIVE = {"later", "earlier", "ago", "before", "after", "afterwards"}
_DENIALS = {"seldom", "rarely", "hardly", "barely", "scarcely", "longer", "neither", "nor"}
_EMPTY_ADVERBS = re.compile(
    r"(?:also|however|then|thus|therefore|hence|moreover|furthermore|additionally|instead|otherwise|indeed|finally|"
    r"meanwhile|nevertheless|nonetheless|consequently|still|even|just|only|too|rather|already|later|again|"
    r"similarly|likewise|accordingly|subsequently|eventually|afterwards|afterward|soon|now|so|yet|perhaps|maybe|"
    r"either|both|respectively|together|back|here|there|overall|further)$"
)


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause that says a fact.

    Attributes:
        verb: the verb that means something; "be" in "X is a Y".
        subject: the first word of the hierarchy of its subject: its own, that of the verb that it is coordinated
            with, or what a relative clause is about.
        auxiliaries: before the verb, in their order.
        before: adverbs between subject and verb.
        parts: its complements in the order in which a question gives them.
        cut: tokens in brackets.
        pronoun: the relative pronoun in place of the subject, in lower case; empty without one.
        own_subject: whether the subject is in the clause itself.
    """

    sentence: Span
    verb: Token
    subject: Token
    auxiliaries: tuple[Token, ...]
    before: tuple[Token, ...]
    parts: tuple[Token, ...]
    cut: Tokens
    pronoun: str
    own_subject: bool

    @property
    def is_passive(self) -> bool:
        """Whether the subject is what something is done to."""
        return any(token.dep_ == "auxpass" for token in self.auxiliaries)

    def phrase(self, token: Token) -> Tokens:
        """Return the words of a part of the clause, or of its subject."""
        if token.i == self.subject.i and not self.own_subject:
            # What a relative clause is about is one of several, and the clause is no part of it.
            others = {child.i for child in token.children if child.dep_ in {"conj", "cc", "relcl"}}
            return phrase(token, self.cut | others)
        return phrase(token, self.cut)

    def part(self, *deps: str) -> Iterator[Token]:
        """Yield the parts with some relation to the verb."""
        return (token for token in self.parts if token.dep_ in deps)


def clauses(sentence: Span) -> Iterator[Clause]:
    """Yield the clauses of a sentence that say facts and have a subject."""
    cut = bracketed(sentence)
    for verb in sentence:
        if verb.pos_ in {"VERB", "AUX"} and verb.dep_ in _FACTS and verb.i not in cut:
            clause = _clause(verb, sentence, cut)
            if clause is not None:
                yield clause


def _clause(verb: Token, sentence: Span, cut: Tokens) -> Clause | None:
    marks = {child.lower_ for child in verb.children if child.dep_ in {"mark", "advmod"} and child.i < verb.i}
    deps = {child.dep_ for child in verb.children}
    if (
        "neg" in deps
        or "expl" in deps
        or "csubj" in deps
        or (verb.dep_ == "advcl" and (marks & _HEDGES or not marks))
        or (verb.dep_ == "conj" and not _is_fact(verb))
        or any(child.lower_ in _DENIALS for child in verb.children)
    ):
        return None
    found = _subject(verb)
    if found is None:
        return None
    subject, own = found
    if verb.dep_ == "relcl" and not _is_named(subject):
        return None
    auxiliaries = _auxiliaries(verb)
    if not _is_finite(verb, auxiliaries) or (own and subject.i > verb.i):
        return None
    limit = max(subject.right_edge.i if own else -1, -1)
    before = tuple(
        child
        for child in verb.children
        if child.dep_ == "advmod"
        and limit < child.i < verb.i
        and child.lower_.endswith("ly")
        and _is_kept_adverb(child)
    )
    parts = [child for child in verb.children if child.i not in cut and _is_part(child)]
    after = [child for child in parts if child.i > verb.i and not (child.dep_ == "prep" and _is_afterthought(child))]
    front = [child for child in parts if child.i < verb.i and child.dep_ in {"prep", "npadvmod", "advcl"}]
    pronoun = next((child.lower_ for child in verb.children if child.tag_ in {"WDT", "WP"}), "")
    return Clause(sentence, verb, subject, auxiliaries, before, (*after, *front), cut, pronoun, own)


def _subject(verb: Token) -> tuple[Token, bool] | None:
    """Return the subject of a verb, and whether it is in its own clause."""
    own = True
    while True:
        subjects = [child for child in verb.children if child.dep_ in {"nsubj", "nsubjpass"}]
        if subjects or verb.dep_ != "conj" or verb.head.pos_ not in {"VERB", "AUX"}:
            break
        verb, own = verb.head, False
    if not subjects:
        return None
    subject = subjects[-1]
    if subject.tag_ in {"WDT", "WP"}:
        return (verb.head, False) if verb.dep_ == "relcl" else None
    # "the lamp she invented": the clause lacks an object.
    return None if verb.dep_ == "relcl" else (subject, own)


def _is_fact(verb: Token) -> bool:
    """Return whether the first of coordinated verbs says a fact."""
    while verb.dep_ == "conj":
        verb = verb.head
    return verb.dep_ in _FACTS


def _is_named(noun: Token) -> bool:
    """Return whether what a relative clause is about has a name, so that the clause says something alone."""
    modifiers = (child for child in noun.children if child.dep_ in {"compound", "poss", "nummod"})
    return noun.pos_ == "PROPN" or any(child.pos_ == "PROPN" for child in modifiers)


def _auxiliaries(verb: Token) -> tuple[Token, ...]:
    """Return the auxiliaries of a verb; a participle without any has those of the verb it is coordinated with."""
    own = tuple(child for child in verb.children if child.dep_ in {"aux", "auxpass"} and child.i < verb.i)
    if not own and verb.dep_ == "conj" and verb.tag_ in {"VBN", "VBG", "VB"} and verb.head.tag_ == verb.tag_:
        return _auxiliaries(verb.head)
    return own


def _is_finite(verb: Token, auxiliaries: tuple[Token, ...]) -> bool:
    first = auxiliaries[0] if auxiliaries else verb
    # "was built and sold": a past tense may be a participle.
    is_doubtful = verb.dep_ == "conj" and not auxiliaries and verb.tag_ == "VBD" and verb.head.tag_ == "VBN"
    return first.tag_ in _FINITE and first.text[0].isalpha() and not is_doubtful


def _is_part(token: Token) -> bool:
    if token.dep_ == "advcl":
        first = token.left_edge.lower_
        return first in _KEPT_CLAUSES and any(child.dep_ in {"nsubj", "nsubjpass"} for child in token.children)
    if token.dep_ == "advmod":
        return _is_kept_adverb(token)
    if token.dep_ == "npadvmod":
        # "a year later" is later than something that the question does not say.
        following = token.doc[token.i + 1].lower_ if token.i + 1 < len(token.doc) else ""
        return following not in _RELATIVE and any(word.is_alpha for word in token.subtree)
    if token.dep_ == "prep":
        return _EMPTY_PHRASES.match(" ".join(word.lower_ for word in token.subtree)) is None
    return token.dep_ in _COMPLEMENTS


def _is_afterthought(token: Token) -> bool:
    return follows_comma(token) and not any(child.ent_type_ == "DATE" for child in token.children)


def _is_kept_adverb(token: Token) -> bool:
    return _EMPTY_ADVERBS.match(token.lower_) is None
