"""Answers to questions, what they were read from, and how right they are."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Chunk, Hits

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with its answer.

    Attributes:
        question: the question.
        answer: in a few words; None where the model gave none, or was not asked.
        thought: what the model wrote before it.
        hits: the chunks that it read, best first.
        steps: the sentences that were searched for after the question, in their order.
        prompt_tokens: tokens that the model read for it, over all steps.
        completion_tokens: tokens that it wrote.
        error: why there is no answer, if the model was asked.
    """

    question: str
    answer: str | None
    thought: str
    hits: list[Chunk]
    steps: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For printing; hits as `search --json` prints them."""
        return {
            "question": self.question,
            "answer": self.answer,
            "thought": self.thought,
            "steps": list(self.steps),
            "hits": [hit.to_json() for hit in self.hits],
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """How right answers are.

    Attributes:
        exact_match: the part that equals a gold answer.
        f1: how many words they share with the gold answer that is nearest, averaged.
        questions: how many had gold.
        without_gold: how many had none and are left out.
        unanswered: how many of those with gold have no answer; they count as wrong.
    """

    exact_match: float
    f1: float
    questions: int
    without_gold: int
    unanswered: int

    def to_json(self) -> dict[str, Any]:
        """For printing."""
        return {
            "metrics": {"EM": self.exact_match, "F1": self.f1},
            "questions": self.questions,
            "questions_without_gold": self.without_gold,
            "unanswered": self.unanswered,
        }


def passage_text(chunk: Chunk) -> str:
    """A chunk as HippoRAG's passages are: its title in a line of its own, if it has one, then its text."""
    return f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text


def unanswered(questions: Sequence[str], hits: Hits) -> list[Answered]:
    """The hits of any retriever before a model reads them: what `to_query_solutions` gives to another reader."""
    return [Answered(question, None, "", found) for question, found in zip(questions, hits.chunks(), strict=True)]


def to_query_solutions(
    answered: Sequence[Answered],
    *,
    gold_answers: Sequence[Sequence[str]] | None = None,
    gold_docs: Sequence[Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """As the `hipporag` package's question answering takes them: `QuerySolution(**solution)`.

    Args:
        answered: the questions with their hits.
        gold_answers: the right answers of each, if they are known.
        gold_docs: the right passages of each, as title, line break and text.

    Returns:
        For each question: question, docs (texts, best first), doc_scores (float32 of shape (docs,)), answer,
        gold_answers and gold_docs.
    """
    return [
        {
            "question": one.question,
            "docs": [passage_text(hit) for hit in one.hits],
            "doc_scores": np.array([hit.score for hit in one.hits], np.float32),
            "answer": one.answer,
            "gold_answers": None if gold_answers is None else list(gold_answers[number]),
            "gold_docs": None if gold_docs is None else list(gold_docs[number]),
        }
        for number, one in enumerate(answered)
    ]


def normalize_answer(text: str) -> str:
    """SQuAD's normal form (Rajpurkar et al., 2016): lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: Sequence[str]) -> float:
    """1 if the answer equals one of the gold answers in normal form, else 0."""
    return float(normalize_answer(answer) in map(normalize_answer, gold))


def f1(answer: str, gold: Sequence[str]) -> float:
    """The harmonic mean of precision and recall of the answer's words, for the gold answer where it is highest."""
    return max((_overlap(answer, one) for one in gold), default=0.0)


def _overlap(answer: str, gold: str) -> float:
    said, right = normalize_answer(answer).split(), normalize_answer(gold).split()
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right)) if common else 0.0


def evaluate(answered: Sequence[Answered], gold: Sequence[Sequence[str]]) -> AnswerScores:
    """Compare answers with the gold answers of each question, any of which is right.

    Raises:
        QueryError: there are not as many gold answers as questions, or no question has one.
    """
    if len(answered) != len(gold):
        msg = f"{len(answered)} questions, but gold answers of {len(gold)}; give a list of answers for each question"
        raise QueryError(msg)
    judged = [(one.answer, right) for one, right in zip(answered, gold, strict=True) if right]
    if not judged:
        msg = "no question has gold answers; give `answers` with the queries"
        raise QueryError(msg)
    matches = [exact_match(answer or "", right) if answer is not None else 0.0 for answer, right in judged]
    overlaps = [f1(answer or "", right) for answer, right in judged]
    return AnswerScores(
        exact_match=float(np.mean(matches)),
        f1=float(np.mean(overlaps)),
        questions=len(judged),
        without_gold=len(gold) - len(judged),
        unanswered=sum(answer is None for answer, _ in judged),
    )
