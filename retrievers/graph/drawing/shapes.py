"""What a picture is made of: shapes with pixel coordinates, from the upper left corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Circle(NamedTuple):
    """A disc around its centre."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str


class Box(NamedTuple):
    """A rectangle with round corners, by its upper left one."""

    x: float
    y: float
    width: float
    height: float
    radius: float
    fill: str
    stroke: str
    line: float = 1.2


class Curve(NamedTuple):
    """A cubic Bézier curve: float64 of shape (4, 2)."""

    points: NDArray[np.float64]
    stroke: str
    width: float
    dash: tuple[float, float] | None = None


class Polygon(NamedTuple):
    """A filled outline: float64 of shape (corners, 2)."""

    points: NDArray[np.float64]
    fill: str


class Text(NamedTuple):
    """One line.

    Attributes:
        x: its left end, middle or right end, by `anchor`.
        y: its base line.
        text: cleaned.
        size: the font's, in pixels.
        width: that was measured for it; no writer takes more.
        fill: the letters' colour.
        anchor: which part of it stands at `x`, whatever the direction of its script.
        bold: whether it is set so.
        halo: a colour around the letters, which keeps lines below them away; none if empty.
    """

    x: float
    y: float
    text: str
    size: float
    width: float
    fill: str
    anchor: Literal["left", "middle", "right"] = "left"
    bold: bool = False
    halo: str = ""


Shape = Circle | Box | Curve | Polygon | Text


@dataclass(frozen=True, slots=True)
class Group:
    """Shapes that are one thing.

    Attributes:
        shapes: in the order in which they are painted.
        hover: what is told of it when it is pointed at.
        node: the number of the node that it is; None for none.
        ends: numbers of the nodes that it joins.
    """

    shapes: list[Shape]
    hover: str = ""
    node: int | None = None
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture.

    Attributes:
        width: in pixels, whole.
        height: in pixels, whole.
        title: what it shows, in words.
        groups: in the order in which they are painted.
    """

    width: int
    height: int
    title: str
    groups: list[Group]


def bezier(points: NDArray[np.float64], count: int = 48) -> NDArray[np.float64]:
    """Points along a cubic curve: float64 of shape (count, 2)."""
    t = np.linspace(0, 1, count)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    return weights @ points


def before(points: NDArray[np.float64], centre: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """The part of a cubic curve up to where it enters a disc for good (de Casteljau's division)."""
    outside = np.flatnonzero(np.hypot(*(bezier(points, 256) - centre).T) > radius)
    if not len(outside):
        return points
    t = outside[-1] / 255
    left = [points[0]]
    rest = points
    while len(rest) > 1:
        rest = rest[:-1] * (1 - t) + rest[1:] * t
        left.append(rest[0])
    return np.array(left)


def arrow(points: NDArray[np.float64], size: float, fill: str) -> Polygon:
    """The head at the end of a curve."""
    tip = points[-1]
    back = bezier(points)[-6] - tip
    back /= np.hypot(*back) or 1.0
    side = np.array([-back[1], back[0]])
    return Polygon(
        np.array([tip, tip + size * back + 0.45 * size * side, tip + size * back - 0.45 * size * side]), fill
    )
