"""Questions of several hops: each is asked again with the answers so far (as QAMAT does; Chen et al., 2023).

The pairs of a chain, written as one question, are compared with the question that was asked: of "what waterfall is in
Zimbabwe", found by the answer of "in which country is the Bubye River", that is "what waterfall is in in which country
is the Bubye River". So a chain is scored as a single pair is, and the pair that ends the right one comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from mnemodex.indexers.graph.words import split
from mnemodex.indexers.qa import normalize_question, with_answers
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Reason

if TYPE_CHECKING:
    import pyarrow as pa

    from mnemodex.indexers.arrays import Float32s, Int64s

_BEAM = 5
"""Chains of a query that are asked again in a round, and pairs that are looked at for each. On MuSiQue, alone and among
5,578 other pairs, ten found no more."""
_ARTICLES = ("a", "an", "the")
"""As in SQuAD's normal form of answers."""

Search: TypeAlias = Callable[["Float32s", int], tuple["Float32s", "Int64s"]]
"""Returns scores and ids of the questions nearest to vectors, of shape (queries, k)."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Pairs of which each asks about the answer of the one before.

    Attributes:
        ids: of their questions.
        question: all of them as one question.
        answers: the first answer of each.
        score: inner product of the one question and the query.
        evidence: what each pair of an earlier round says, with the score that it had there.
    """

    ids: tuple[int, ...]
    question: str
    answers: tuple[str, ...]
    score: float
    evidence: tuple[Reason, ...] = ()

    def reasons(self, question: str) -> list[Reason]:
        """Return the evidence for its last pair, whose question is given: the round that found it, and those before."""
        return [Reason(f"question of round {len(self.ids)}", question, self.score), *self.evidence]


Chains: TypeAlias = Mapping[int, Chain]
"""The best chain that ends with each question, by its id."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Asks questions again.

    Attributes:
        search: finds pairs.
        read: returns the columns `question` and `answers` of questions by ascending ids.
        encode: returns vectors of texts.
        key: what the vectors of the index are of.
    """

    search: Search
    read: Callable[[Int64s], pa.Table]
    encode: Callable[[list[str]], Float32s]
    key: Literal["question", "question_answer"]

    def chains(self, queries: Sequence[str], vectors: Float32s, rounds: int) -> list[Chains]:
        """Return the chains of 2 pairs up to one a round that were found for each query.

        Args:
            queries: the queries, in normal form.
            vectors: of these, float32 of shape (queries, dimension).
            rounds: at least 1; the first one finds single pairs.
        """
        scores, ids = self.search(vectors, _BEAM)
        pairs = self._pairs(ids)
        beams = [
            [
                Chain((pair,), pairs[pair][0], pairs[pair][1][:1], score)
                for pair, score in zip(*row, strict=True)
                if pair in pairs
            ]
            for row in zip(ids.tolist(), scores.tolist(), strict=True)
        ]
        found: list[dict[int, Chain]] = [{} for _ in queries]
        for _ in range(1, rounds):
            beams = self._extend(queries, vectors, beams)
            for best, beam in zip(found, beams, strict=True):
                for chain in beam:
                    best[chain.ids[-1]] = max(best.get(chain.ids[-1], chain), chain, key=lambda one: one.score)
        return list(found)

    def _extend(self, queries: Sequence[str], vectors: Float32s, beams: list[list[Chain]]) -> list[list[Chain]]:
        """Return the best chains that are one pair longer than those of the beam of each query."""
        asked = [(number, chain) for number, beam in enumerate(beams) for chain in beam]
        texts = [normalize_question(" ".join([queries[number], *chain.answers])) for number, chain in asked]
        if not texts:
            return beams
        _, ids = self.search(self.encode(texts), _BEAM)
        pairs = self._pairs(ids)
        longer = [
            (number, chain, pair, question)
            for (number, chain), row in zip(asked, ids.tolist(), strict=True)
            for pair in row
            if pair in pairs and pair not in chain.ids
            if (question := _substituted(pairs[pair][0], chain.answers[-1], chain.question)) is not None
        ]
        extended: list[list[Chain]] = [[] for _ in beams]
        if longer:
            owners = np.array([number for number, *_ in longer])
            composed = self.encode([self._text(question, pairs[pair][1]) for *_, pair, question in longer])
            scores = (composed * vectors[owners]).sum(axis=1).tolist()
            for (number, chain, pair, question), score in zip(longer, scores, strict=True):
                evidence = Reason(f"round {len(chain.ids)}", _said(chain), chain.score)
                answers = (*chain.answers, pairs[pair][1][0])
                extended[number].append(
                    Chain((*chain.ids, pair), question, answers, score, (*chain.evidence, evidence))
                )
        return [sorted(beam, key=lambda chain: (-chain.score, chain.ids))[:_BEAM] for beam in extended]

    def _text(self, question: str, answers: Sequence[str]) -> str:
        """Return the text that an index has the vector of, were the question one of its own."""
        normal = normalize_question(question)
        return normal if self.key == "question" else with_answers(normal, answers)

    def _pairs(self, ids: Int64s) -> dict[int, tuple[str, tuple[str, ...]]]:
        """Return question and answers of pairs that are among ids of any shape."""
        unique = np.unique(ids[ids != MISSING_ID])
        table = self.read(unique)
        columns = unique.tolist(), table["question"].to_pylist(), table["answers"].to_pylist()
        return {pair: (question, tuple(answers)) for pair, question, answers in zip(*columns, strict=True)}


def merge(scores: Float32s, ids: Int64s, chains: Sequence[Chains]) -> tuple[Float32s, Int64s]:
    """Return the best of pairs that were found and of chains' last pairs, each once, as many as were found.

    Scores and ids are of shape (queries, k), best first; missing ones are -inf and -1.
    """
    most = max(map(len, chains), default=0)
    more_ids = np.full((len(ids), most), MISSING_ID, np.int64)
    more_scores = np.full((len(ids), most), MISSING_SCORE, np.float32)
    for query, found in enumerate(chains):
        more_ids[query, : len(found)] = list(found)
        more_scores[query, : len(found)] = [chain.score for chain in found.values()]
    all_ids, all_scores = np.hstack([ids, more_ids]), np.hstack([scores, more_scores])
    by_id = np.lexsort((-all_scores, all_ids))
    all_ids, all_scores = (np.take_along_axis(values, by_id, axis=1) for values in (all_ids, all_scores))
    again = np.zeros(all_ids.shape, np.bool_)
    again[:, 1:] = all_ids[:, 1:] == all_ids[:, :-1]
    all_ids[again], all_scores[again] = MISSING_ID, MISSING_SCORE
    best = np.lexsort((all_ids, -all_scores))[:, : ids.shape[1]]
    return np.take_along_axis(all_scores, best, axis=1), np.take_along_axis(all_ids, best, axis=1)


def _said(chain: Chain) -> str:
    return f"{chain.question}: {chain.answers[-1]}"


def _substituted(question: str, answer: str, by: str) -> str | None:
    """Return a question with a text in the place of an answer, compared word by word; None where it is not in it."""
    wanted = [word.form for word in split(answer)]
    wanted = wanted[1:] if len(wanted) > 1 and wanted[0] in _ARTICLES else wanted
    words = split(question)
    for start in range(len(words) - len(wanted) + 1) if wanted else ():
        run = words[start : start + len(wanted)]
        if [word.form for word in run] == wanted:
            return question[: run[0].start] + by + question[run[-1].end :]
    return None
