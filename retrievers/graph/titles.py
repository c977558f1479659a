"""Titles that a question mentions: passages under them are likely what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.graph.names import is_opener, plain_title
from mnemodex.retrievers.graph.mentions import MENTIONED, Mentions
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.graph.space import Space

_PASSAGES = 30
"""The best passages of a question, whose titles are looked at."""
_GAIN = 0.1
"""What a passage gains, as cosines."""


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
    titles = {number: plain_title(title) for number, (title, _) in zip(passages, space.read(passages), strict=True)}
    for row, text in questions.items():
        own = {
            number: title for number in best[row].tolist() if not all(map(is_opener, (title := titles[number]).split()))
        }
        mentions = Mentions(text, space.words, own.values())
        mentioned = [
            number
            for number, title in own.items()
            if mentions.coverage(title) >= MENTIONED and mentions.is_distinct(title)
        ]
        scores[row, mentioned] += np.float32(_GAIN)
