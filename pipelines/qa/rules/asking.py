"""Questions about a clause: a question word takes the place of the answer, and an auxiliary goes before the subject."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnemodex.pipelines.qa.rules.wording import base, is_plural, lower_first, third_person, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spacy.tokens import Doc, Span, Token

    from mnemodex.indexers.models.phrases import Tokens
    from mnemodex.pipelines.qa.rules.clauses import Clause
    from mnemodex.pipelines.qa.rules.references import References

_LONGEST = 18
"""Words of a question, beyond which its last parts are left out where they can be."""
_TOO_LONG = 24
_OPTIONAL = {"prep", "advcl", "advmod", "npadvmod"}
_TORN = re.compile("[\\[\\]\u2014*]")
_VAGUE, _UNSAID = -0.35, -0.5
_ANY = {"a", "an", "some", "any", "several", "many", "certain", "various", "more", "most"}
_DEMONSTRATIVE = re.compile(r"(?:this|these|those|such|another|latter|former|same|following|above|below)$")
_NONE = {"no", "none", "nobody", "nothing", "neither", "few"}
"""First words of subjects that deny what their clause says."""
_NOUNS = {"NOUN", "PROPN", "PRON"}
_TIED = {"det", "poss", "amod", "compound", "case"}
"""What depends on a noun and says nothing without it."""
_UNFINISHED = {"AUX", "PART", "ADP", "SCONJ", "CCONJ", "DET"}
"""Words that end no phrase."""
_CONTENT = {"NOUN", "PROPN", "NUM", "ADJ", "VERB"}
_LIGHT = {"be", "have", "do", "use", "make", "include", "become", "say", "know", "call"}


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with the characters of its answer in the parsed text; `score` is a log-probability."""

    question: str
    start: int
    end: int
    rule: str
    score: float


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks about one clause.

    Attributes:
        references: what its words mean.
    """

    clause: Clause
    references: References

    @property
    def sentence(self) -> Span:
        """The sentence that the clause is in."""
        return self.clause.sentence

    @property
    def doc(self) -> Doc:
        """The text."""
        return self.sentence.doc

    def of_subject(self, word: str, answer: Tokens, rule: str, score: float, *, agree: bool = True) -> Draft | None:
        """Ask for the subject, which the question word replaces, as "Who invented the lamp?"."""
        clause = self.clause
        finite = clause.auxiliaries[0] if clause.auxiliaries else clause.verb
        first = third_person(finite) if agree else finite.text.lower()
        verbs = [first, *(token.text for token in (*clause.auxiliaries[1:], *clause.before, clause.verb))]
        if not clause.auxiliaries:
            verbs = [*(token.text for token in clause.before), first]
        parts = self._parts(frozenset(), len(word.split()) + len(verbs))
        if parts is None or all(self.doc[part[0]].dep_ in {"advmod", "prt"} for part in parts):
            return None
        used = frozenset(i for part in parts for i in part)
        words = [word, *verbs, *(self.write(part) for part in parts)]
        return self._draft(words, used, answer, rule, score)

    def of_part(self, word: str, answer: Tokens, left_out: Tokens, rule: str, score: float) -> Draft | None:
        """Ask for something else, so that the subject comes after the first auxiliary, as "What did Ada invent?"."""
        clause = self.clause
        subject = clause.phrase(clause.subject)
        last = self.doc[max(subject)]
        if self.doc[min(subject)].lower_ in _NONE:
            return None
        if subject & left_out or clause.subject.pos_ not in _NOUNS or last.pos_ in _UNFINISHED:
            return None
        verb = clause.verb
        rest = [token.text for token in (*clause.auxiliaries[1:], *clause.before)]
        if clause.auxiliaries:
            first, rest = clause.auxiliaries[0].text.lower(), [*rest, verb.text]
        elif verb.lemma_ == "be":
            first = verb.text.lower()
        else:
            first = "did" if verb.tag_ == "VBD" else "do" if is_plural(clause.subject, verb) else "does"
            rest.append(base(verb))
        parts = self._parts(left_out, len(word.split()) + 1 + len(rest) + len(subject))
        if parts is None:
            return None
        used = frozenset(i for part in parts for i in part)
        words = [word, first, self.write(sorted(subject)), *rest, *(self.write(part) for part in parts)]
        return self._draft(words, used | subject, answer, rule, score)

    def _parts(self, left_out: Tokens, others: int) -> list[list[int]] | None:
        """Return the complements without the answer, the last of them left out where the question is long.

        Returns None where the answer was one of several, and the others are left.
        """
        parts = [(token, sorted(self.clause.phrase(token) - left_out)) for token in self.clause.parts]
        parts = [(token, places) for token, places in parts if places]
        if any(self.doc[places[end]].dep_ == "cc" for _, places in parts for end in (0, -1)):
            return None
        while others + sum(len(places) for _, places in parts) > _LONGEST:
            optional = [number for number, (token, _) in enumerate(parts) if number and token.dep_ in _OPTIONAL]
            if not optional:
                break
            del parts[optional[-1]]
        return [places for _, places in parts]

    def write(self, places: Sequence[int]) -> str:
        """Return tokens as they are written inside a question."""
        text = written(places, self.sentence, self.references.names)
        if places[0] in self.references.names:
            return text
        return lower_first(text, self.doc[places[0]], self.references.proper)

    def _draft(self, words: list[str], used: Tokens, answer: Tokens, rule: str, score: float) -> Draft | None:
        start, end = min(answer), max(answer) + 1
        span = self.doc[start:end]
        question = " ".join(filter(None, words)).rstrip(" .,;:!") + "?"
        if (
            used & self.references.unknown
            or self._is_torn(used, answer)
            or not _is_sound(question)
            or not _is_sound(span.text)
            or len(question.split()) > _TOO_LONG
        ):
            return None
        doubt = sum(self.references.doubts.get(i, 0.0) for i in used)
        vague, unsaid = self._vagueness(used), _unsaid(span)
        if vague is None or unsaid is None:
            return None
        long = -0.06 * max(0, len(question.split()) - 13) - 0.05 * max(0, len(span) - 4)
        return Draft(question, span.start_char, span.end_char, rule, min(-0.01, score + doubt + vague + unsaid + long))

    def _is_torn(self, used: Tokens, answer: Tokens) -> bool:
        """Return whether a phrase, a word with a hyphen or words between quotes are only half in the question."""
        tied = (self.doc[i] for i in used if self.doc[i].dep_ in _TIED)
        if any(token.head.i not in used | answer for token in tied):
            return True
        within = range(self.sentence.start + 1, self.sentence.end - 1)
        hyphens = (i for i in within if self.doc[i].text == "-" and not self.doc[i - 1].whitespace_)
        quotes = (i for i in within if self.doc[i].is_quote and i not in used)
        return any((i - 1 in used) != (i + 1 in used) for i in hyphens) or any(i + 1 in used for i in quotes)

    def _vagueness(self, used: Tokens) -> float | None:
        """Return what is taken off for words that mean something only in their passage; None for too little meaning."""
        tokens = [self.doc[i] for i in used]
        names = [
            token for token in tokens if (token.pos_ == "PROPN" and len(token) > 1) or token.i in self.references.names
        ]
        content = {
            token.i for token in (*tokens, self.clause.verb) if token.pos_ in _CONTENT and token.lemma_ not in _LIGHT
        }
        content.update(token.i for token in names)
        # "What is basalt?" says enough.
        if len(content) < (1 if self.clause.verb.lemma_ == "be" else 2):
            return None
        if not names and not any(token.pos_ == "NOUN" for token in tokens):
            return None
        if any(_DEMONSTRATIVE.match(token.lower_) for token in tokens):
            return None
        bare = sum(_is_bare(token) for token in tokens)
        return _VAGUE * bare + (0.0 if names else 2 * _VAGUE if len(content) < 4 else _VAGUE)


def _unsaid(answer: Span) -> float | None:
    """Return what is taken off for an answer that says little ("a problem"); None for one that refers ("the group")."""
    if len(answer) != 2 or answer[1].pos_ != "NOUN" or answer[0].pos_ not in {"DET", "ADJ"}:
        return 0.0
    return None if answer[0].lower_ == "the" else _UNSAID if answer[0].lower_ in _ANY else 0.0


def _is_bare(token: Token) -> bool:
    """Return whether a noun has an article and nothing that says which one is meant."""
    if token.pos_ != "NOUN":
        return False
    children = [child for child in token.children if child.dep_ != "punct"]
    return len(children) == 1 and children[0].lower_ == "the"


def _is_sound(text: str) -> bool:
    quotes = sum(text.count(mark) for mark in '"\u201c\u201d')
    return quotes % 2 == 0 and text.count("(") == text.count(")") and not _TORN.search(text)
