"""Boxes that lie near what they are joined to and cover nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 400
_PAIRS = 15_000_000
"""Forces between pairs of boxes that are computed at most: with many boxes there are fewer steps."""
_TURN = np.pi * (3 - np.sqrt(5))


def place(
    sizes: NDArray[np.float64],
    charge: NDArray[np.float64],
    fixed: NDArray[np.float64],
    springs: NDArray[np.int64],
    strength: NDArray[np.float64],
    area: tuple[float, float],
) -> NDArray[np.float64]:
    """Lay out boxes by forces (Fruchterman and Reingold, 1991) in an area whose width holds and whose height may grow.

    The same input gives the same layout: boxes begin on a spiral, and nothing is drawn by lot.

    Args:
        sizes: float64 of shape (boxes, 2): widths and heights.
        charge: float64 of shape (boxes,): how strongly each keeps others away.
        fixed: float64 of shape (points, 2): where things are that do not move.
        springs: int64 of shape (springs, 2): pairs of boxes, or of a box and a fixed point, which count on from boxes.
        strength: float64 of shape (springs,).
        area: width and height.

    Returns:
        The centres, float64 of shape (boxes, 2); no two boxes overlap, and none leaves the width.
    """
    if not len(sizes):
        return np.empty((0, 2))
    settled = _settle(sizes, charge, fixed, springs, strength, np.array(area))
    return _apart(_pushed(settled, sizes, area[0]), sizes, area[0])


def _settle(
    sizes: NDArray[np.float64],
    charge: NDArray[np.float64],
    fixed: NDArray[np.float64],
    springs: NDArray[np.int64],
    strength: NDArray[np.float64],
    area: NDArray[np.float64],
) -> NDArray[np.float64]:
    boxes = len(sizes)
    number = np.arange(boxes)
    radius = 0.45 * np.sqrt((number + 0.5) / boxes)[:, None]
    start = area * (0.5 + radius * np.stack([np.cos(number * _TURN), np.sin(number * _TURN)], axis=1))
    points = np.concatenate([start, fixed])
    natural = 0.8 * np.sqrt(area.prod() / boxes)
    # Boxes are broader than high: what counts is how far they are apart beyond their own extent.
    reach = 0.5 * sizes.max(axis=1)
    one, other = springs.T
    steps = int(np.clip(_PAIRS / boxes**2, 30, _STEPS))
    for step in range(steps):
        free = points[:boxes]
        apart = free[:, None] - free
        distance = np.hypot(apart[..., 0], apart[..., 1])
        np.fill_diagonal(distance, 1.0)
        gap = np.maximum(distance - 0.5 * (reach[:, None] + reach), 0.1 * natural)
        force = (
            apart / np.maximum(distance, 1.0)[..., None] * (natural**2 / gap * charge[:, None] * charge)[..., None]
        ).sum(axis=1)
        pull = points[other] - points[one]
        pull *= (strength * np.hypot(*pull.T) / natural)[:, None]
        total = np.zeros_like(points)
        np.add.at(total, one, pull)
        np.add.at(total, other, -pull)
        force += total[:boxes] + 0.6 * (area / 2 - free)
        length = np.maximum(np.hypot(*force.T), 1e-9)[:, None]
        warmth = 0.12 * area.min() * (1 - step / steps) + 0.5
        points[:boxes] = free + force / length * np.minimum(length, warmth)
        points[:boxes] = np.clip(points[:boxes], sizes / 2, np.maximum(area - sizes / 2, sizes / 2))
    return points[:boxes]


def _pushed(centres: NDArray[np.float64], sizes: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Push boxes that overlap apart, along the shorter way, as long as that helps."""
    half = (sizes[:, None] + sizes) / 2
    for _ in range(int(np.clip(_PAIRS / len(sizes) ** 2, 30, _STEPS))):
        apart = centres[:, None] - centres
        over = half - np.abs(apart)
        clash: NDArray[np.bool_] = np.logical_and(over[..., 0] > 0, over[..., 1] > 0)
        np.fill_diagonal(clash, val=False)
        if not clash.any():
            break
        upright = over[..., 1] <= over[..., 0]
        # Boxes at one place part by their order.
        order = np.sign(np.arange(len(sizes))[:, None] - np.arange(len(sizes)))
        way = np.where(apart == 0, order[..., None], np.sign(apart))
        push = np.where(clash[..., None], over * way, 0.0) * np.stack([~upright, upright], axis=2)
        centres = centres + 0.3 * push.sum(axis=1)
        centres[:, 0] = np.clip(centres[:, 0], sizes[:, 0] / 2, np.maximum(width - sizes[:, 0] / 2, sizes[:, 0] / 2))
    return centres


def _apart(centres: NDArray[np.float64], sizes: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """From above, move each box down until it covers none that lies already."""
    centres = centres.copy()
    order = np.lexsort((centres[:, 0], centres[:, 1] - sizes[:, 1] / 2))
    for place, box in enumerate(order):
        laid = order[:place]
        beside = laid[np.abs(centres[laid, 0] - centres[box, 0]) < (sizes[laid, 0] + sizes[box, 0]) / 2 - 1e-6]
        for other in beside[np.argsort(centres[beside, 1] - sizes[beside, 1] / 2, kind="stable")]:
            need = (sizes[other, 1] + sizes[box, 1]) / 2
            if abs(centres[other, 1] - centres[box, 1]) < need - 1e-6:
                centres[box, 1] = centres[other, 1] + need
    return centres
