"""What the shapes of a picture mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.drawing.lettering import measure
from mnemodex.retrievers.graph.drawing.palette import (
    ENTITY,
    FACT,
    FACT_TINT,
    MENTION,
    PASSAGE,
    PASSAGE_TINT,
    QUIET,
    SEED,
    SYNONYM,
)
from mnemodex.retrievers.graph.drawing.shapes import Box, Circle, Curve, Shape, Text

if TYPE_CHECKING:
    from collections.abc import Collection

_WORDS = {
    "entity": "entity: the larger, the more probable",
    "fact": "fact linked to the question",
    "passage": "passage by rank; the bar is its score",
    "seed": "where the walk begins",
    "mention": "mentioned in",
    "synonym": "names that mean the same",
}
_MARK = 30
_SIZE = 11.5
ROW = 22


def legend(kinds: Collection[str], x: float, y: float, width: float) -> tuple[list[Shape], float]:
    """Marks and words for the kinds that are there, in as many rows as they need; the shapes, and where they end."""
    drawn: list[Shape] = []
    left = x
    for kind, words in _WORDS.items():
        if kind not in kinds:
            continue
        needed = _MARK + 8 + measure(words, _SIZE)
        if left > x and left + needed > x + width:
            left, y = x, y + ROW
        drawn += _mark(kind, left, y + ROW / 2)
        drawn.append(Text(left + _MARK + 8, y + ROW / 2 + 4, words, _SIZE, measure(words, _SIZE), QUIET))
        left += needed + 24
    return drawn, y + ROW


def _mark(kind: str, x: float, y: float) -> list[Shape]:
    line = np.linspace([x, y], [x + _MARK, y], 4)
    if kind == "entity":
        return [Circle(x + 8, y, 5, ENTITY, ENTITY), Circle(x + 21, y, 8, ENTITY, ENTITY)]
    if kind == "fact":
        return [Curve(line, FACT, 2.4), Box(x + 6, y - 6, 18, 12, 6, FACT_TINT, FACT, 1)]
    if kind == "passage":
        return [Box(x + 2, y - 8, 26, 16, 4, PASSAGE_TINT, PASSAGE, 1.4), Box(x + 6, y + 2, 14, 3, 1, PASSAGE, PASSAGE)]
    if kind == "seed":
        return [Curve(line, SEED, 2, (2, 5))]
    if kind == "mention":
        return [Curve(line, MENTION, 1.6)]
    return [Curve(line, SYNONYM, 2, (7, 5))]
