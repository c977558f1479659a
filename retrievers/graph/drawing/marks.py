"""What lies in the middle of a picture: entities as discs with their names, facts as labels with their predicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.drawing.lettering import fit, measure
from mnemodex.retrievers.graph.drawing.palette import ENTITY, ENTITY_TINT, FACT, FACT_TINT, INK, PAPER
from mnemodex.retrievers.graph.drawing.shapes import Box, Circle, Shape, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.subgraph import Edge, Node

_LEADING = 1.2
_LABEL = 11


@dataclass(frozen=True, slots=True)
class Entity:
    """A disc, the larger the more weight, with a name below it.

    Attributes:
        node: the entity.
        radius: of the disc.
        size: of the name's letters.
        lines: the name.
        width: of the whole.
    """

    node: Node
    radius: float
    size: float
    lines: list[str]
    width: float

    @property
    def height(self) -> float:
        """Of the whole."""
        return 2 * self.radius + len(self.lines) * self.size * _LEADING + 5

    def disc(self, middle: NDArray[np.float64]) -> NDArray[np.float64]:
        """The centre of the disc, when the middle of the whole is there."""
        centre: NDArray[np.float64] = middle - np.array([0.0, self.height / 2 - self.radius])
        return centre

    def shapes(self, middle: NDArray[np.float64]) -> list[Shape]:
        """The entity around its middle."""
        x, y = self.disc(middle).tolist()
        fill = ENTITY if self.node.weight > 0 else ENTITY_TINT
        drawn: list[Shape] = [Circle(x, y, self.radius, fill, ENTITY)]
        for number, line in enumerate(self.lines):
            base = y + self.radius + self.size * (1.05 + number * _LEADING)
            width = measure(line, self.size)
            drawn.append(Text(x, base, line, self.size, width, INK, "middle", halo=PAPER))
        return drawn


@dataclass(frozen=True, slots=True)
class Fact:
    """A predicate in a box that lies on the line from subject to object.

    Attributes:
        edge: the fact.
        lines: the predicate.
        width: of the box.
        height: of the box.
        line: how thick the line is.
    """

    edge: Edge
    lines: list[str]
    width: float
    height: float
    line: float

    def shapes(self, middle: NDArray[np.float64]) -> list[Shape]:
        """The label around its middle."""
        x, y = middle.tolist()
        top = y - self.height / 2
        drawn: list[Shape] = [Box(x - self.width / 2, top, self.width, self.height, 8, FACT_TINT, FACT, 1)]
        for number, line in enumerate(self.lines):
            base = top + 3 + _LABEL * (0.95 + number * _LEADING)
            drawn.append(Text(x, base, line, _LABEL, measure(line, _LABEL), INK, "middle"))
        return drawn


def entities(nodes: Sequence[Node]) -> list[Entity]:
    """Entities whose discs' areas are as their weights."""
    shares = np.sqrt(_shares([node.weight for node in nodes]))
    found = []
    for node, share in zip(nodes, shares.tolist(), strict=True):
        radius, size = 7 + 15 * share, 12 + 3 * share
        lines = fit(node.label, size, 150, 2)
        widest = max((measure(line, size) for line in lines), default=0.0)
        found.append(Entity(node, radius, size, lines, max(widest, 2 * radius) + 4))
    return found


def facts(edges: Sequence[Edge]) -> list[Fact]:
    """Facts whose lines are as thick as their weights."""
    found = []
    for edge, share in zip(edges, _shares([edge.weight for edge in edges]).tolist(), strict=True):
        lines = fit(edge.label, _LABEL, 130, 2)
        width = max((measure(line, _LABEL) for line in lines), default=0.0) + 14
        found.append(Fact(edge, lines, width, _LABEL * _LEADING * len(lines) + 7, 1.4 + 2.6 * share))
    return found


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    """Each weight as a part of the largest."""
    values = np.maximum(np.nan_to_num(np.array(weights, np.float64)), 0.0)
    shares: NDArray[np.float64] = values / max(float(values.max(initial=0.0)), 1e-300)
    return shares
