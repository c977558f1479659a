"""Rewrites that are asked, round after round: the facts and passages near to them, and the scores that they give."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.graph.budget import Budget
    from mnemodex.retrievers.graph.clauses import Clause
    from mnemodex.retrievers.graph.pairs import Pair
    from mnemodex.retrievers.graph.space import Space

WEIGHT = 0.95
"""The weight of a passage's cosine to a rewrite, relative to its cosine to the question."""
_PASSAGES = 3
"""The nearest passages of a rewrite that are kept for the next round."""
_CELLS = 1 << 24
"""Cosines of rewrites that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A text that is asked for a question.

    Attributes:
        question: its number in the batch.
        text: what is asked.
        clause: the part of the question that is asked alone, or whose place `name` takes.
        pair: the two names of the question, of which the text has `name` alone; it serves to find facts, and gives no
            scores.
        name: what was put into the question, or is in it alone.
        behind: how much the best score that it gives is below the best of the question, at least.
    """

    question: int
    text: str
    clause: Clause | None = None
    pair: Pair | None = None
    name: str = ""
    behind: float = 0.0


class Reply(NamedTuple):
    """What a rewrite found."""

    rewrite: Rewrite
    facts: Int64s
    """Numbers of the nearest facts, best first."""
    fact_cosines: Float32s
    """Of the same shape."""
    passages: Int64s
    """Numbers of the nearest passages, best first."""
    cosine: float
    """The weighted cosine of the best passage."""
    score: float
    """What of it counts."""


class Asker:
    """Asks the rewrites of a batch of questions.

    Args:
        space: what is asked.
        scores: float32 of shape (questions, passages), the cosines to the questions. A higher score by a rewrite takes
            the place of one.
        facts: the most facts that are linked to a rewrite.
        budget: the time that this may take; without one all is asked.
        is_capped: whether a rewrite's scores are limited by the question's.

    Attributes:
        replies: to all rewrites that give scores, round after round.
    """

    def __init__(
        self, space: Space, scores: Float32s, *, facts: int = 0, budget: Budget | None = None, is_capped: bool = True
    ) -> None:
        self.space = space
        self.replies: list[Reply] = []
        self._scores = scores
        self._limits = scores.max(axis=1, initial=-1.0) if is_capped else np.full(len(scores), np.inf, np.float32)
        self._facts = facts
        self._budget = budget
        self._known: set[tuple[int, str]] = set()
        self._left_out: dict[int, list[str]] = defaultdict(list)
        self._round = 0

    def ask(self, rewrites: Iterable[Rewrite]) -> list[Reply]:
        """Ask one round of rewrites, all in one call of the encoder; what a question was asked before is left out.

        The score of a passage is its weighted cosine. All scores of a rewrite are lowered by what the best of them is
        above the best of the question: a rewrite may lead to other passages, but to none with more certainty than the
        question itself.
        """
        self._round += 1
        waiting = [rewrite for rewrite in rewrites if self._is_new(rewrite)]
        replies: list[Reply] = []
        while waiting and (count := len(waiting) if self._budget is None else self._budget.texts()):
            chosen = _in_turn(waiting)[:count]
            replies += self._reply([waiting[place] for place in sorted(chosen)])
            waiting = [rewrite for place, rewrite in enumerate(waiting) if place not in set(chosen)]
        if self._budget is not None:
            for question, count in Counter(rewrite.question for rewrite in waiting).items():
                self.leave_out([question], f"{count} of the rewrites of round {self._round}, {self._budget.reason}")
        return replies

    def has_time(self, questions: Iterable[int]) -> bool:
        """Return whether there is time for one more round; without it, it is reported for some questions."""
        if self._budget is None or not self._budget.is_spent:
            return True
        self.leave_out(set(questions), f"the rewrites from round {self._round + 1} on, {self._budget.reason}")
        return False

    def leave_out(self, questions: Iterable[int], what: str) -> None:
        """Keep what is not asked for some questions, and why, for `left_out`."""
        for question in questions:
            self._left_out[question].append(what)

    def _is_new(self, rewrite: Rewrite) -> bool:
        key = rewrite.question, rewrite.text.casefold()
        is_new = bool(rewrite.text) and key not in self._known
        self._known.add(key)
        return is_new

    def _reply(self, rewrites: Sequence[Rewrite]) -> list[Reply]:
        started = time.perf_counter()
        vectors = self.space.encode([rewrite.text for rewrite in rewrites])
        facts, fact_cosines = np.zeros((len(rewrites), 0), np.int64), np.zeros((len(rewrites), 0), np.float32)
        if self._facts:
            facts, fact_cosines, _ = self.space.nearest_facts(vectors, self._facts)
        replies: list[Reply] = []
        step = max(_CELLS // max(self._scores.shape[1], 1), 1)
        for start in range(0, len(rewrites), step):
            cosines = self.space.dense(vectors[start : start + step])
            for row, scores in enumerate(cosines, start):
                best = top_k(scores, _PASSAGES)
                counted = self._count(rewrites[row], scores)
                replies.append(Reply(rewrites[row], facts[row], fact_cosines[row], best, *counted))
        if self._budget is not None:
            self._budget.pace.measure(time.perf_counter() - started, len(rewrites))
        self.replies += [reply for reply in replies if reply.rewrite.pair is None]
        return replies

    def _count(self, rewrite: Rewrite, scores: Float32s) -> tuple[float, float]:
        """Let a rewrite's cosines, which are changed, count for its question; return the best and what counts of it."""
        scores *= np.float32(WEIGHT)
        best = scores.max(initial=-1.0)
        counted = min(best, self._limits[rewrite.question] - np.float32(rewrite.behind))
        if rewrite.pair is None:
            scores -= best - counted
            np.maximum(self._scores[rewrite.question], scores, out=self._scores[rewrite.question])
        return float(best), float(counted)

    def replies_to(self, question: int) -> list[Reply]:
        """Return the replies to the rewrites of a question that give scores, round after round."""
        return [reply for reply in self.replies if reply.rewrite.question == question]

    def left_out(self, question: int) -> list[str]:
        """Return what was not asked for a question, and why."""
        return self._left_out.get(question, [])


def _in_turn(rewrites: Sequence[Rewrite]) -> list[int]:
    """Return the places of rewrites: first the first one of each question, then the second one of each."""
    turns: Counter[int] = Counter()
    keys = []
    for place, rewrite in enumerate(rewrites):
        keys.append((turns[rewrite.question], place))
        turns[rewrite.question] += 1
    return [place for _, place in sorted(keys)]
