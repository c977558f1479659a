"""What raises the scores of passages besides cosines: titles that a question mentions, and its words by BM25."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.graph.names import is_opener, plain_title
from mnemodex.retrievers.graph.mentions import MENTIONED, Mentions
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.graph.space import Space

_PASSAGES = 30
"""The best passages of a question, whose titles are looked at."""
_HITS = 100
"""Hits by BM25."""
_TITLE, _WORDS = 0.1, 0.05
"""What a passage gains, as cosines: by its title; and by words, if it is the best one by these."""


def add_titles(space: Space, questions: Mapping[int, str], scores: Float32s) -> None:
    """Raise the scores of passages whose title a question mentions, with a word that few passages hold.

    A title like "Where" or "The Who", whose words all begin questions and sentences, tells nothing.

    Args:
        space: what is asked.
        questions: by their rows in `scores`.
        scores: float32 of shape (questions, passages), which are changed.
    """
    best = {row: top_k(scores[row], _PASSAGES) for row in questions}
    if not best:
        return
    passages = np.unique(np.concatenate(list(best.values()))).tolist()
    read = zip(passages, space.read(passages), strict=True)
    titles = {number: plain_title(title) for number, (title, _) in read}
    titles = {number: title for number, title in titles.items() if not all(map(is_opener, title.split()))}
    for row, text in questions.items():
        own = {number: titles[number] for number in best[row].tolist() if number in titles}
        mentions = Mentions(text, space.words, own.values())
        mentioned = [
            number
            for number, title in own.items()
            if mentions.coverage(title) >= MENTIONED and mentions.is_distinct(title)
        ]
        scores[row, mentioned] += np.float32(_TITLE)


def add_words(space: Space, questions: Sequence[str], scores: Float32s) -> None:
    """Raise the scores of the passages that BM25 finds, each by its share of the best one's score by BM25.

    Args:
        space: what is asked; without an index of words nothing changes.
        questions: a batch.
        scores: float32 of shape (questions, passages), which are changed.
    """
    if space.bm25 is None:
        return
    hits = space.bm25.search(questions, _HITS)
    row, rank = np.nonzero(hits.ids != MISSING_ID)
    scores[row, space.numbers(hits.ids[row, rank])] += np.float32(_WORDS) * hits.scores[row, rank] / hits.scores[row, 0]
