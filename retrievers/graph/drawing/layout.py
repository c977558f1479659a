"""The layout of a picture: the question left, entities and facts in the middle, passages right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import networkx as nx
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MARGIN = 26.0
_GAP, _SIDE, _ROOM = 14.0, 45.0, 18.0
"""Pixels between two cards, between cards and the middle, and between two boxes in the middle."""
_WIDTH, _HEIGHT, _SPARE = 580.0, 240.0, 3.2
"""The middle's width and least height in pixels, and its area in parts of its boxes' area. All is 1242 pixels wide."""
_PULL = {"fact": 1.5, "mention": 0.3, "synonym": 0.8, "seed": 0.2, "vector": 0.1}
"""How strongly each kind of edge draws its ends together."""


def layout(
    graph: nx.MultiDiGraph, sizes: Mapping[Hashable, tuple[float, float]]
) -> tuple[dict[Hashable, Floats], float, float]:
    """Return the centres of all boxes, and the width and height of the picture, in pixels.

    Args:
        graph: as `Subgraph.to_networkx` returns it, with at least one question.
        sizes: widths and heights of the boxes: of nodes by their ids, of facts by their edges (source, target, key).
    """
    kinds = dict(graph.nodes(data="kind"))
    questions, passages = ([key for key in sizes if kinds.get(key) == kind] for kind in ("question", "passage"))
    middle = [key for key in sizes if kinds.get(key) not in {"question", "passage"}]
    boxes = np.array([sizes[key] for key in middle]).reshape(-1, 2) + _ROOM
    area = _SPARE * float(boxes.prod(axis=1).sum())
    width = _WIDTH if middle else 0.0
    columns = [len(keys) * (max(sizes[key][1] for key in keys) + _GAP) for keys in (questions, passages) if keys]
    height = max(_HEIGHT, area / max(width, 1.0), *columns)
    cards = {key: (-0.1, (row + 0.5) / len(questions)) for row, key in enumerate(questions)}
    cards |= {key: (1.1, (row + 0.5) / len(passages)) for row, key in enumerate(passages)}
    centres = _middle(graph, dict(zip(middle, boxes, strict=True)), cards, (width, height)) if middle else boxes
    height = max([height, *(centres[:, 1] + boxes[:, 1] / 2)])
    left = MARGIN + max(sizes[key][0] for key in questions)
    right = left + _SIDE + (width + _SIDE) * bool(middle)
    positions = dict(zip(middle, centres + np.array([left + _SIDE, MARGIN]), strict=True))
    for key, (_, share) in cards.items():
        x = (right if key in passages else MARGIN) + sizes[key][0] / 2
        positions[key] = np.array([x, MARGIN + share * height])
    end = max((right + sizes[key][0] for key in passages), default=right - _SIDE)
    return positions, end + MARGIN, height + 2 * MARGIN


def _middle(
    graph: nx.MultiDiGraph,
    boxes: Mapping[Hashable, Floats],
    cards: Mapping[Hashable, tuple[float, float]],
    area: tuple[float, float],
) -> Floats:
    """Return the centres of boxes between cards: of several layouts, the one where arrows pass the fewest boxes."""
    import networkx as nx

    springs = nx.Graph()
    # Without these, boxes that nothing joins would drift away.
    springs.add_edges_from(((key, card) for key in boxes for card in cards), weight=0.3 / len(cards))
    for source, target, key, kind in graph.edges(keys=True, data="kind"):
        path = [source, (source, target, key), target] if kind == "fact" else [source, target]
        nx.add_path(springs, path, weight=_PULL[kind])
    row = {key: number for number, key in enumerate(boxes)}
    triples = [[row[key], *(row.get(end, row[key]) for end in key[:2])] for key in boxes if isinstance(key, tuple)]
    facts = np.array(triples, np.int64).reshape(-1, 3)
    sizes, layouts = np.array(list(boxes.values())), []
    for seed in range(int(np.clip(800 / len(boxes), 1, 12))):
        rounds = int(np.clip(15_000 / len(boxes), 20, 300))
        settled = nx.spring_layout(springs, pos=cards, fixed=list(cards), iterations=rounds, seed=seed)
        points = np.array([settled[key] for key in boxes])
        points = (points - points.min(axis=0)) / np.maximum(np.ptp(points, axis=0), 1e-9)
        # Ranks fill the area more evenly than springs do, and labels are best midway between their fact's ends.
        points = points / 2 + points.argsort(axis=0, kind="stable").argsort(axis=0) / len(points) / 2
        points[facts[:, 0]] = 0.3 * points[facts[:, 0]] + 0.7 * points[facts[:, 1:]].mean(axis=1)
        centres = separate(sizes / 2 + points * np.maximum(area - sizes, 0), sizes)
        layouts.append((_faults(centres, sizes, facts), seed, centres))
    return min(layouts)[2]


def _faults(centres: Floats, sizes: Floats, facts: NDArray[np.int64]) -> float:
    """Count the boxes that straight lines from labels to their ends pass, and 1 more for 150 pixels of bends.

    Facts are the rows of a label and its two ends: int64 of shape (facts, 3).
    """
    lines = facts[:, [[0, 1], [0, 2]]].reshape(-1, 2)
    start, way = centres[lines[:, :1]], np.diff(centres[lines], axis=1)
    way = np.where(way == 0, 1e-9, way)
    enter, leave = np.sort([(centres + side * sizes - start) / way for side in (-0.5, 0.5)], axis=0)
    passed = np.maximum(enter.max(axis=2), 0) < np.minimum(leave.min(axis=2), 1)
    np.put_along_axis(passed, lines, values=False, axis=1)
    bends = np.linalg.norm(centres[facts[:, 0]] - centres[facts[:, 1:]].mean(axis=1), axis=1)
    return int(passed.sum()) + float(bends.sum()) / 150


def separate(centres: Floats, sizes: Floats) -> Floats:
    """Return the centres of boxes, float64 of shape (boxes, 2) as their sizes, moved down so that no two overlap."""
    centres, half = centres.copy(), (sizes[:, None] + sizes) / 2
    tops = centres[:, 1] - sizes[:, 1] / 2
    order = np.argsort(tops, kind="stable")
    for rank, box in enumerate(order):
        above = order[:rank]
        overlapping = above[np.abs(centres[above, 0] - centres[box, 0]) < half[above, box, 0] - 1e-6]
        for other in overlapping[np.argsort(tops[overlapping], kind="stable")]:
            if abs(centres[other, 1] - centres[box, 1]) < half[other, box, 1] - 1e-6:
                centres[box, 1] = centres[other, 1] + half[other, box, 1]
        tops[box] = centres[box, 1] - sizes[box, 1] / 2
    return centres
