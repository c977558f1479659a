"""The questions about a parsed text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnemodex.indexers.models.phrases import bracketed, noun_answer, phrase
from mnemodex.pipelines.qa.rules.asking import Asker, Draft
from mnemodex.pipelines.qa.rules.clauses import clauses
from mnemodex.pipelines.qa.rules.references import resolve
from mnemodex.pipelines.qa.rules.rules import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spacy.tokens import Doc, Span

_LEAST = -1.5
"""Log-probability of a question that is worth asking."""
_CODE = re.compile(r"[`_=<>{}\\|$@#~^*]|\w\(|\(\)|\[\w*\]|::|--|https?:|\w/\w+/|\.\.\.|\w\.\w+\.\w|\d\.\d+\.\d")
_NAME_OF_CODE = re.compile(r"[A-Za-z_]\w*+(?:\.\w++)+(?:\(\))?$|(?=\w++$)\w*?[a-z]_\w")
"""Titles that are the names of functions, with their modules."""
_SHORTEST, _LONGEST = 4, 60
"""Tokens of a sentence that is asked about."""
_STOP = frozenset({"a", "an", "the", "of", "in", "on", "to", "and", "or", "for", "by", "with", "at", "from", "as"})


def drafts(doc: Doc, title: str) -> Iterator[Draft]:
    """Yield questions that can be understood without the text, and do not hold their answers."""
    references = resolve(doc, title)
    # spaCy joins the tokens each time that it is asked for the text.
    text = doc.text
    if _NAME_OF_CODE.match(title):
        yield from _returned(doc, title)
    for sentence in doc.sents:
        if not _is_prose(sentence):
            continue
        for clause in clauses(sentence):
            best: dict[tuple[int, int], Draft] = {}
            for draft in ask(Asker(clause, references)):
                if draft is None or draft.score < _LEAST or _holds(draft.question, text[draft.start : draft.end]):
                    continue
                key = draft.start, draft.end
                if key not in best or best[key].score < draft.score:
                    best[key] = draft
            yield from best.values()


def _returned(doc: Doc, title: str) -> Iterator[Draft]:
    """Yield what a function returns, where its documentation begins with that."""
    sentence = next(doc.sents)
    verb = sentence[0]
    objects = [child for child in verb.children if child.dep_ == "dobj"]
    if verb.lower_ in {"return", "returns"} and objects and not _CODE.search(sentence.text):
        answer = noun_answer(objects[0], phrase(objects[0], bracketed(sentence)))
        if answer is not None:
            span = doc[min(answer) : max(answer) + 1]
            yield Draft(f"What does {title} return?", span.start_char, span.end_char, "returned", -0.2)


def _is_prose(sentence: Span) -> bool:
    """Return whether a sentence is complete, of words, and no code."""
    text = sentence.text.strip()
    return (
        _SHORTEST <= len(sentence) <= _LONGEST
        and text[0] not in ",;:)-"
        and not text[0].islower()
        and text.rstrip("\"'\u201d\u2019)")[-1:] in {".", "!", ";"}
        and not _CODE.search(text)
    )


def _holds(question: str, answer: str) -> bool:
    """Return whether all words of an answer that mean something are in the question."""
    words = _words(answer)
    return not words or words <= _words(question)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower())) - _STOP
