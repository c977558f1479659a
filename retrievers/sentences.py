"""The sentence of each hit that is nearest to its question, by the encoder of an index."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from mnemodex.indexers.dense.vectors import pair_scores
from mnemodex.indexers.graph.names import sentences
from mnemodex.retrievers.hits import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.indexers.vector_settings import Metric

_WRAPPED = re.compile(r"(?<=\S)\n(?=\w)")
"""A line end within a paragraph."""
_LETTERS, _TOKENS = 8, 512
"""Letters of a token at the most, and tokens of a passage where the encoder does not say how many it reads."""


def nearest_sentences(
    encoder: TextEncoder, queries: Float32s, texts: Sequence[Sequence[tuple[str, str]]], metric: Metric
) -> list[list[Reason]]:
    """Return for each hit its sentence with the highest score, and this; the title where it has no sentence.

    Args:
        encoder: encodes all sentences in one call. What it would not have read of a text is left out.
        queries: vectors of the questions, float32 of shape (queries, dimension).
        texts: titles and texts of the hits of each.
        metric: by which the sentences are scored.
    """
    letters = _LETTERS * (encoder.max_length or _TOKENS)
    listed = [[sentences(_WRAPPED.sub(" ", text[:letters])) or [title] for title, text in row] for row in texts]
    rows = {sentence: row for row, sentence in enumerate(dict.fromkeys(chain.from_iterable(chain(*listed))))}
    if not rows:
        return [[] for _ in texts]
    vectors = encoder.encode([encoder.settings.passage_prefix + sentence for sentence in rows])

    def nearest(query: Float32s, choice: list[str]) -> Reason:
        scores = pair_scores(query[None], vectors[[rows[sentence] for sentence in choice]][None], metric)[0]
        best = int(scores.argmax())
        return Reason("sentence", choice[best], float(scores[best]))

    return [[nearest(query, choice) for choice in row] for query, row in zip(queries, listed, strict=True)]
