"""Answers to questions, what they were read from, and how right they are."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.arrays import begins
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.hits import Chunk, Hits

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with its answer.

    Attributes:
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
        """Return it for printing; hits as `search --json` prints them."""
        return {
            **{name: getattr(self, name) for name in ("question", "answer", "thought")},
            "steps": list(self.steps),
            "hits": [hit.to_json() for hit in self.hits],
            "tokens": {"prompt": self.prompt_tokens, "completion": self.completion_tokens},
            "error": self.error,
        }


class _WithAnswer(Protocol):
    """A question's answer of any reader."""

    @property
    def answer(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """How right answers are.

    Attributes:
        exact_match: the part that equals a gold answer.
        f1: how many words they share with the nearest gold answer, averaged.
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
        """Return them for printing."""
        return {
            "metrics": {"EM": self.exact_match, "F1": self.f1},
            "questions": self.questions,
            "questions_without_gold": self.without_gold,
            "unanswered": self.unanswered,
        }


def passage_text(chunk: Chunk) -> str:
    """Return a chunk as HippoRAG's passages are: its title in a line of its own, if it has one, then its text."""
    return f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text


def unanswered(questions: Sequence[str], hits: Hits) -> list[Answered]:
    """Return questions with their hits before a model reads them, for a reader or `to_query_solutions`."""
    return [Answered(question, None, "", chunks) for question, chunks in zip(questions, hits.chunks(), strict=True)]


def to_query_solutions(
    answered: Sequence[Answered],
    *,
    gold_answers: Sequence[Sequence[str]] | None = None,
    gold_docs: Sequence[Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Return what the `hipporag` package's question answering takes of each question: `QuerySolution(**solution)`.

    That is question, docs (texts, best first), doc_scores (float32 of shape (docs,)), answer, gold_answers and
    gold_docs (title, line break and text), if these are known.
    """
    return [
        {
            "question": entry.question,
            "docs": [passage_text(hit) for hit in entry.hits],
            "doc_scores": np.array([hit.score for hit in entry.hits], np.float32),
            "answer": entry.answer,
            "gold_answers": None if gold_answers is None else list(gold_answers[number]),
            "gold_docs": None if gold_docs is None else list(gold_docs[number]),
        }
        for number, entry in enumerate(answered)
    ]


def normalize_answer(text: str) -> str:
    """Return SQuAD's normal form (Rajpurkar et al., 2016): lower case, no ASCII punctuation or articles, one space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: Sequence[str]) -> float:
    """Return 1 if the answer equals one of the gold answers in normal form, else 0."""
    return float(normalize_answer(answer) in map(normalize_answer, gold))


def f1(answer: str, gold: Sequence[str]) -> float:
    """Return the harmonic mean of precision and recall of the answer's words, by the best gold answer."""
    return max(
        (_overlap(normalize_answer(answer).split(), normalize_answer(right).split()) for right in gold), default=0.0
    )


def _overlap(words: list[str], gold: list[str]) -> float:
    common = (Counter(words) & Counter(gold)).total()
    return 2 * common / (len(words) + len(gold)) if common else 0.0


def merge_answers(groups: Int64s, answers: pa.ListArray, count: int) -> tuple[pa.ListArray, Int64s]:
    """Return the different answers of each group of pairs, those of most pairs first, then those that pairs name first.

    Answers with one normal form (SQuAD's) count as one, written as a pair that names it first does. What then is still
    equal is in the order of the texts, so that the order of the pairs decides nothing. The second result says for each
    pair the rank of its best answer in the group, from 0 on: int64 of shape (pairs,).

    Args:
        groups: the group of each pair, from 0 on, int64 of shape (pairs,).
        answers: of each pair, strings.
        count: of groups.
    """
    sizes = numbers(answers.value_lengths())
    values = answers.flatten()
    pairs = np.repeat(np.arange(len(answers)), sizes)
    place = np.arange(len(values)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    of_group, code, text = groups[pairs], number_forms(values), text_ranks(values)
    order = np.lexsort((pairs, code, of_group))
    starts = begins(of_group[order], code[order])
    # A pair that gives an answer in two spellings counts once.
    new_pair = np.zeros(len(order), np.int64)
    new_pair[begins(of_group[order], code[order], pairs[order])] = 1
    given = np.add.reduceat(new_pair, starts) if len(starts) else new_pair
    first = np.lexsort((text, place, code, of_group))[starts]
    by_rank = np.lexsort((text[first], place[first], -given, of_group[first]))
    ranked = first[by_rank]
    offsets = np.searchsorted(of_group[ranked], np.arange(count + 1))
    rank = np.empty(len(ranked), np.int64)
    rank[by_rank] = np.arange(len(ranked)) - offsets[of_group[ranked]]
    best = np.full(len(answers), len(ranked))
    np.minimum.at(best, pairs[order], np.repeat(rank, np.diff(np.append(starts, len(order)))))
    texts = values.take(to_column(ranked, pa.int64()))
    return pa.ListArray.from_arrays(to_column(offsets, pa.int32()), texts), best


def text_ranks(texts: pa.StringArray) -> Int64s:
    """Return numbers in the order of the texts, equal for equal ones, int64 of shape (texts,)."""
    encoded = texts.dictionary_encode()
    ranks = np.empty(len(encoded.dictionary), np.int64)
    ranks[numbers(pc.sort_indices(encoded.dictionary))] = np.arange(len(ranks))
    return np.take(ranks, numbers(encoded.indices))


def number_forms(answers: pa.StringArray) -> Int64s:
    """Return a number for the normal form of each answer, int64 of shape (answers,)."""
    encoded = answers.dictionary_encode()
    known: dict[str, int] = {}
    # What is only articles and punctuation has no normal form but itself.
    codes = [
        known.setdefault(normalize_answer(text) or f" {text}", len(known)) for text in encoded.dictionary.to_pylist()
    ]
    by_text: Int64s = np.array(codes, np.int64)
    return np.take(by_text, numbers(encoded.indices))


def evaluate(answered: Sequence[_WithAnswer], gold: Sequence[Sequence[str]]) -> AnswerScores:
    """Compare answers with the gold answers of each question, any of which is right.

    Raises:
        QueryError: there are not as many gold answers as questions, or no question has one.
    """
    if len(answered) != len(gold):
        raise QueryError(
            f"{len(answered)} questions, but gold answers of {len(gold)}; give a list of answers for each question"
        )
    judged = [(entry.answer, right) for entry, right in zip(answered, gold, strict=True) if right]
    if not judged:
        raise QueryError("no question has gold answers; give `answers` with the queries")
    return AnswerScores(
        exact_match=float(np.mean([answer is not None and exact_match(answer, right) for answer, right in judged])),
        f1=float(np.mean([f1(answer or "", right) for answer, right in judged])),
        questions=len(judged),
        without_gold=len(gold) - len(judged),
        unanswered=sum(answer is None for answer, _ in judged),
    )
