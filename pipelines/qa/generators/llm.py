"""Questions that a language model behind a server asks about given answers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from mnemodex.indexers.models.locate import need
from mnemodex.indexers.models.parsing import read_list
from mnemodex.pipelines.kept_chat import KeptChat, UnusableError, conversation, object_schema
from mnemodex.pipelines.qa.generators.base import Candidate, Generated, Generator, Passage
from mnemodex.schemas.errors import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.generators.base import Span
    from mnemodex.schemas.pair_sections import LlmPairs

_TASK = (
    "You write questions for a quiz. You get a passage and a list of answers, all of which are words of the passage. "
    "For each answer write one question that the passage answers by exactly these words. A question must be understood "
    "by somebody who does not see the passage: name people and things by their full names instead of pronouns, and do "
    'not speak of "the passage". A question must not hold its answer. Leave out an answer that nothing sensible can be '
    'asked about. Answer with JSON of the form {"questions": [{"answer": "…", "question": "…"}]} and nothing else.'
)
_EXAMPLE = (
    "Ottoline Marr\nOttoline Marr (1889-1961) was a novelist and a teacher of botany. She was born in Dunmarrow and "
    'wrote The Salt Ledger.\n\nAnswers: ["Dunmarrow", "1961", "The Salt Ledger"]',
    '{"questions": [{"answer": "Dunmarrow", "question": "Where was the novelist Ottoline Marr born?"}, {"answer": '
    '"1961", "question": "In which year did Ottoline Marr die?"}, {"answer": "The Salt Ledger", "question": "Which '
    'novel did Ottoline Marr write?"}]}',
)
_STRING = {"type": "string"}
_SCHEMA = object_schema(questions={"type": "array", "items": object_schema(answer=_STRING, question=_STRING)})
PROBE = 'Ada Stone\nAda Stone keeps the lighthouse of Dunmarrow.\n\nAnswers: ["Ada Stone"]'
"""What a server is asked before a build."""


class _Asked(NamedTuple):
    answer: str
    question: str


class LlmGenerator(Generator):
    """Asks for a question about each answer of a chunk, all at once; every answer of the server is kept (`KeptChat`).

    A chunk is a problem where the reply cannot be read or does not come, or asks about none of its answers. Counted are
    other answers that nothing is asked about (`unasked`), and questions about other answers, which are left out
    (`unknown_answers`).
    """

    def __init__(self, settings: LlmPairs, work: Work) -> None:
        self._chat = KeptChat.of(settings, work.store)
        self._counts = Counter(unasked=0, unknown_answers=0)

    @override
    @classmethod
    def check(cls, settings: LlmPairs) -> None:
        need("openai", extra="llm")

    @override
    @classmethod
    def probe(cls, settings: LlmPairs, work: Work) -> list[str]:
        messages = conversation(_TASK, _EXAMPLE, PROBE)
        return KeptChat.of(settings, work.store).probe("qa_pairs", messages, _SCHEMA, _read)

    @override
    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        replies = self._chat.at_once(self._ask, zip(passages, answers, strict=True))
        return [
            Generated(problems=[reply]) if isinstance(reply, str) else self._match(passage.text, spans, reply)
            for passage, spans, reply in zip(passages, answers, replies, strict=True)
        ]

    @override
    def counts(self) -> dict[str, int]:
        return {**self._chat.counts, **self._counts}

    def _ask(self, chunk: tuple[Passage, Sequence[Span]]) -> list[_Asked] | str:
        """Return the questions of one chunk, or why there are none; runs in several threads at once."""
        passage, spans = chunk
        if not spans:
            return []
        text = f"{passage.title}\n{passage.text}" if passage.title else passage.text
        wanted = list(dict.fromkeys(passage.text[span.start : span.end] for span in spans))
        question = f"{text}\n\nAnswers: {json.dumps(wanted, ensure_ascii=False)}"
        try:
            return self._chat.ask(conversation(_TASK, _EXAMPLE, question), _SCHEMA, _read)
        except UnusableError as error:
            return str(error.args[0])
        except NoAnswerError as error:
            return str(error)

    def _match(self, text: str, spans: Sequence[Span], asked: list[_Asked]) -> Generated:
        """Return the questions with their answers' spans, in the order of these."""
        questions = defaultdict[str, list[str]](list)
        for answer, question in asked:
            questions[_form(answer)].append(question)
        first = {_form(text[span.start : span.end]): span for span in reversed(spans)}
        candidates = [
            Candidate(question, span)
            for answer, span in reversed(first.items())
            for question in dict.fromkeys(questions[answer])
        ]
        self._counts["unknown_answers"] += sum(len(questions[answer]) for answer in questions.keys() - first.keys())
        if spans and not candidates:
            return Generated(problems=[f"the model asks about none of {len(first)} answers"])
        self._counts["unasked"] += len(first) - len({candidate.answer for candidate in candidates})
        return Generated(candidates)


def _form(answer: str) -> str:
    """Return an answer as it is compared: models change its case and its white space."""
    return " ".join(answer.casefold().split())


def _read(text: str) -> list[_Asked]:
    """Return the pairs of an answer.

    Raises:
        ValueError: it has no list of pairs.
    """
    items = read_list(text, "questions", lambda item: _pair(item) is not None)
    pairs = [pair for pair in map(_pair, items) if pair is not None]
    if items and not pairs:
        raise ValueError("the questions of the model's answer are no pairs of an answer and a question")
    return pairs


def _pair(item: Any) -> _Asked | None:
    if not isinstance(item, dict):
        return None
    values = {str(key).strip().lower(): value for key, value in item.items()}
    answer, question = values.get("answer"), values.get("question")
    # Years come as numbers.
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not isinstance(question, str):
        return None
    return _Asked(str(answer), " ".join(question.split()))
