"""Answers that rules find in passages: what the question word asks for, near the words of the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.graph.names import sentences
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.indexers.words import split_words
from mnemodex.retrievers.readers.rule_answers import best_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.readers.passage_reader import Passages

_BATCH = 64
"""Questions whose passages are compared with them at once: a score for each sentence of any of them."""
_SENTENCES = 3
"""Sentences of a question that are parsed."""
_LONGEST = 1000
"""Characters of a sentence that are parsed: the parser's memory grows with them."""
_PASSAGE = 0.3
"""What the words of a whole passage and its title count for each of its sentences."""
_LEAST = 0.2
"""The part of a question's words that a sentence needs to answer it."""


class RuleReader:
    """spaCy's parse of the sentences that share most of a question's words, rare ones before others.

    The answer is one of their named entities, numbers and noun phrases, by what the question word asks for, by its
    place in the clause, and by how near it is to the question's words in the parse. What the question says itself is
    no answer.

    Raises:
        ModelError: there is no such model of spaCy.
        MissingExtraError: spaCy is not installed.
    """

    def __init__(self, model: str) -> None:
        self._nlp = load_pipeline(model, exclude=[])

    def read(self, questions: Sequence[str], passages: Sequence[Passages]) -> list[str | None]:
        """Return an answer to each question; see `PassageReader`."""
        answers: list[str | None] = []
        for start in range(0, len(questions), _BATCH):
            answers += self._read(questions[start : start + _BATCH], passages[start : start + _BATCH])
        return answers

    def _read(self, questions: Sequence[str], passages: Sequence[Passages]) -> list[str | None]:
        near = nearest_sentences(questions, passages)
        distinct = list(dict.fromkeys(text for row in near for text, _ in row))
        parsed = dict(zip(distinct, self._nlp.pipe(distinct, batch_size=_BATCH), strict=True))
        asked = self._nlp.pipe(questions, batch_size=_BATCH)
        return [
            best_answer(question, [(parsed[text], score) for text, score in row])
            for question, row in zip(asked, near, strict=True)
        ]


def nearest_sentences(questions: Sequence[str], passages: Sequence[Passages]) -> list[list[tuple[str, float]]]:
    """Return the sentences of each question's passages that share its words, best first, with the share of these words.

    A word counts by how few of all sentences have it; those of a whole passage and of its title count a little.
    """
    distinct = list(dict.fromkeys(passage for some in passages for passage in some))
    split = [[part[:_LONGEST] for part in sentences(" ".join(text.split()))] for _, text in distinct]
    texts = [sentence for parts in split for sentence in parts]
    owners = np.repeat(np.arange(len(distinct)), list(map(len, split)))
    words = _words([*questions, *texts, *(f"{title} {text}" for title, text in distinct)])
    asked, stated = words[: len(questions)], words[len(questions) : len(questions) + len(texts)]
    weights = np.log(1 + (len(texts) + 1) / (stated.sum(axis=0) + 0.5))
    asked = asked.multiply(weights).tocsr()
    whole = np.maximum(asked.sum(axis=1), 1e-6)[:, None]
    scores = (asked @ stated.T).toarray() / whole
    context = (asked @ words[len(questions) + len(texts) :].T).toarray() / whole
    places = {passage: number for number, passage in enumerate(distinct)}
    found = []
    for row, of_passage, some in zip(scores, context, passages, strict=True):
        allowed = np.isin(owners, [places[passage] for passage in some]) & (row >= _LEAST)
        total = np.where(allowed, row + _PASSAGE * of_passage[owners], -1.0)
        best = np.argsort(-total, kind="stable")[:_SENTENCES]
        found.append([(texts[i], float(total[i])) for i in best.tolist() if allowed[i]])
    return found


def _words(texts: Sequence[str]) -> csr_array:
    """Return which words each text has: 1 or 0, float32 of shape (texts, words)."""
    from scipy.sparse import csr_array

    words = split_words(texts)
    rows = np.repeat(np.arange(len(texts)), words.lengths)
    held: Float32s = np.ones(len(words.ids), np.float32)
    matrix = csr_array((held, (rows, words.ids)), shape=(len(texts), len(words.names)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
