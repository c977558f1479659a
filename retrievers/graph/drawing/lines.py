"""The curves that join what a picture shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.drawing.palette import FACT, MENTION, SEED, SYNONYM
from mnemodex.retrievers.graph.drawing.shapes import Curve, Shape, arrow, before

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.drawing.marks import Fact

_HEAD = 9.0
_LEFT = np.array([[0.0, 1.0], [-1.0, 0.0]])
"""Turns a way by a quarter."""


def fact_line(
    fact: Fact, subject: NDArray[np.float64], label: NDArray[np.float64], object_: NDArray[np.float64], radius: float
) -> list[Shape]:
    """An arrow from a subject's disc to an object's, which has that radius, through the middle of the label."""
    if np.array_equal(subject, object_):
        side = _LEFT @ (label - subject)
        points = np.array([subject, (4 * label - subject) / 3 + side, (4 * label - subject) / 3 - side, object_])
    else:
        bend = 2 * label - (subject + object_) / 2
        points = np.array([subject, (subject + 2 * bend) / 3, (object_ + 2 * bend) / 3, object_])
    shaft = before(points, object_, radius + 1.5 + _HEAD)
    head = before(points, object_, radius + 1.5)
    return [Curve(shaft, FACT, fact.line), arrow(head, _HEAD + fact.line, FACT)]


def mention_line(left: NDArray[np.float64], right: NDArray[np.float64]) -> Curve:
    """Between an entity's disc and the left edge of a passage's card."""
    return Curve(_across(left, right), MENTION, 1.5)


def seed_line(left: NDArray[np.float64], right: NDArray[np.float64]) -> Curve:
    """Between the right edge of the question's card and an entity's disc."""
    return Curve(_across(left, right), SEED, 2, (2, 5))


def synonym_line(left: NDArray[np.float64], right: NDArray[np.float64]) -> Curve:
    """Between two entities' discs, a little bent, so that it does not hide a fact between the same two."""
    side = _LEFT @ (right - left) * 0.12
    points = np.array([left, left * 0.67 + right * 0.33 + side, left * 0.33 + right * 0.67 + side, right])
    return Curve(points, SYNONYM, 2, (7, 5))


def _across(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve that leaves and arrives level."""
    reach = np.array([0.5 * (right[0] - left[0]), 0.0])
    return np.array([left, left + reach, right - reach, right])
