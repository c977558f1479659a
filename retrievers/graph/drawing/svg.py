"""A subgraph as SVG: cards for the question and the passages, pills for entities, labelled arrows for facts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.retrievers.graph.drawing.layout import MARGIN, layout
from mnemodex.retrievers.graph.drawing.palette import LIGHT, dark_rules
from mnemodex.retrievers.graph.drawing.text import clean, fit, is_right_to_left, measure
from mnemodex.retrievers.graph.evidence import ALONE, show_label, with_evidence

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.subgraph import Subgraph

    Edge = tuple[Hashable, Hashable, int]
    Floats = NDArray[np.float64]

_INK, _QUIET, _PAPER = LIGHT["ink"], LIGHT["quiet"], LIGHT["paper"]
_CARDS = ("question", "entity", "passage", "fact")
_LINES = {
    kind: f'stroke="{LIGHT[kind]}" {form}'
    for kind, form in {
        "vector": 'stroke-width="2" stroke-dasharray="1 6" stroke-linecap="round"',
        "mention": 'stroke-width="1.5"',
        "seed": 'stroke-width="2" stroke-dasharray="2 5" stroke-linecap="round"',
        "synonym": 'stroke-width="2" stroke-dasharray="7 5" stroke-linecap="round"',
    }.items()
}
"""In the order in which they are painted."""
_LEGEND = {
    "entity": "entity: the larger, the more probable",
    "fact": "fact linked to the question",
    "passage": "passage by rank; the bar is its score",
    "seed": "where the walk begins",
    "mention": "mentioned in",
    "vector": ALONE,
    "synonym": "names that mean the same",
}
_FONTS = "'Helvetica Neue', Arial, 'Noto Sans', 'DejaVu Sans', sans-serif"
_LEADING = 1.25
"""From one base line to the next, in parts of the font's size."""


class Line(NamedTuple):
    """A line of text: its words, the font's size in pixels, the letters' colour, and whether they are bold."""

    text: str
    size: float
    fill: str = _INK
    bold: bool = False


class Box(NamedTuple):
    """Lines of text, the size of all in pixels, the weight in parts of the largest of its kind, a passage's rank."""

    lines: list[Line]
    width: float
    height: float
    share: float
    rank: str = ""


def to_svg(subgraph: Subgraph, *, dark: bool = False) -> str:
    """Return the picture as one SVG element, in which every text is escaped and which refers to nothing outside.

    With `dark`, its colours are dark where people want that: for a picture that is shown by itself.
    """
    style = f"<style>@media (prefers-color-scheme: dark){{{dark_rules()}}}</style>" if dark else ""
    return _Picture(subgraph).svg(style)


class _Picture:
    """A graph, the boxes of its nodes (by id) and facts (by edge), and the boxes' centres."""

    def __init__(self, subgraph: Subgraph) -> None:
        self._graph = with_evidence(subgraph)
        self._number = {node: number for number, node in enumerate(self._graph)}
        self._boxes = _boxes({**self._graph.nodes, **self._graph.edges})
        sizes = {key: (box.width, box.height) for key, box in self._boxes.items()}
        self._centres, self._width, self._height = layout(self._graph, sizes)

    def svg(self, style: str = "") -> str:
        """Return the element, with a style; what comes later in it is painted above what comes before."""
        edges = [(edge, self._graph.edges[edge]["kind"]) for edge in self._graph.edges]
        nodes = list(self._graph.nodes(data="kind"))
        facts = [edge for edge, kind in edges if kind == "fact"]
        parts = [self._edge(edge, [self._line(edge, kind)]) for kind in _LINES for edge, its in edges if its == kind]
        parts += [self._edge(edge, self._arrow(edge)) for edge in facts]
        parts += [self._edge(edge, _card("fact", self._boxes[edge], self._centres[edge])) for edge in facts]
        parts += [self._node(node) for node in self._graph]
        legend, height = _legend({kind for _, kind in edges + nodes}, self._width, self._height)
        size = f'width="{self._width:.0f}" height="{height:.0f}" viewBox="0 0 {self._width:.0f} {height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="group" font-family="{_FONTS}">'
        title = f"<title>{escape(clean(self._graph.graph['question']))}</title>"
        paper = f'<rect width="100%" height="100%" fill="{_PAPER}"/>'
        return "\n".join([head + style, title, paper, *parts, legend, "</svg>\n"])

    def _node(self, node: Hashable) -> str:
        data = self._graph.nodes[node]
        weight = [] if data["kind"] == "question" else [f"{data['weight']:.4g}"]
        hover = [data["label"], *data["detail"].splitlines(), *weight]
        card = _card(data["kind"], self._boxes[node], self._centres[node])
        return _group(
            card, hover, f'class="node" data-kind="{data["kind"]}" data-node="{self._number[node]}" tabindex="0"'
        )

    def _edge(self, edge: Edge, shapes: list[str]) -> str:
        data, (source, target) = self._graph.edges[edge], (self._graph.nodes[end]["label"] for end in edge[:2])
        label = show_label(data["label"], "fact") if data["kind"] == "fact" else data["kind"]
        hover = [f"{source} — {label} — {target}", f"{data['weight']:.4g}"]
        ends = f"{self._number[edge[0]]} {self._number[edge[1]]}"
        return _group(shapes, hover, f'class="edge" data-kind="{data["kind"]}" data-ends="{ends}"')

    def _line(self, edge: Edge, kind: str) -> str:
        """Draw from side to side if the ends are side by side, else from centre to centre; level where it begins."""
        left, right = sorted(edge[:2], key=lambda end: float(self._centres[end][0]))
        start, stop = self._centres[left], self._centres[right]
        if stop[0] - start[0] > (self._boxes[left].width + self._boxes[right].width) / 2:
            start = start + np.array([self._boxes[left].width / 2, 0])
            stop = stop - np.array([self._boxes[right].width / 2, 0])
        level = (stop - start) * (0.5, 0)
        return _path("C", np.array([start, start + level, stop - level, stop]), _LINES[kind])

    def _arrow(self, edge: Edge) -> list[str]:
        """Draw from the subject to the object through the middle of the label, but not over either of the two."""
        start, middle, stop = self._centres[edge[0]], self._centres[edge], self._centres[edge[1]]
        across = (stop - start) / 6
        if edge[0] == edge[1]:
            across = np.array([start[1] - middle[1], middle[0] - start[0]])
        inner = (8 * middle - start - stop) / 6
        t = np.linspace(0, 1, 241)[:, None]  # Along a cubic Bézier curve.
        points = (1 - t) ** 3 * start + 3 * t * (1 - t) * (inner + (2 * t - 1) * across) + t**3 * stop
        for end in edge[:2]:
            reach = np.array(self._boxes[end][1:3]) / 2 + 1
            points = points[(np.abs(points - self._centres[end]) > reach).any(axis=1)]
        return _arrow(points, 1.4 + 2.6 * self._boxes[edge].share) if len(points) else []


def _arrow(points: Floats, width: float) -> list[str]:
    """Return a line along points, float64 of shape (points, 2), and its head, which is 10 pixels long or more."""
    tip = points[-1]
    shaft = points[np.linalg.norm(points - tip, axis=1) > 8]
    shaft = np.vstack([shaft[:-1:8], shaft[-1:]]) if len(shaft) else points[:1]
    back = (shaft[-1] - tip) / max(np.linalg.norm(shaft[-1] - tip), 1e-9) * (10 + width)
    side = 0.45 * np.array([-back[1], back[0]])
    head = _pairs(np.array([tip, tip + back + side, tip + back - side]))
    line = _path("L", shaft, f'stroke="{LIGHT["fact"]}" stroke-width="{width:.1f}"')
    return [line, f'<polygon points="{head}" fill="{LIGHT["fact"]}"/>']


def _boxes(items: Mapping[Hashable, Mapping[str, Any]]) -> dict[Hashable, Box]:
    """Return the boxes of nodes and facts, as large as their texts need, by their keys."""
    boxes: dict[Hashable, Box] = {}
    for kind in _CARDS:
        chosen = {key: data for key, data in items.items() if data["kind"] == kind}
        # A weight that is not positive, or not a number, counts as 0.
        weights = {key: min(data["weight"], 1e300) if data["weight"] > 0 else 0.0 for key, data in chosen.items()}
        largest = max(weights.values(), default=0.0) or 1.0
        for key, data in chosen.items():
            share = weights[key] / largest
            lines, width, height = _filled(kind, data, share**0.5)
            boxes[key] = Box(lines, width, height, share, data.get("rank", ""))
    return boxes


def _filled(kind: str, data: Mapping[str, Any], scale: float) -> tuple[list[Line], float, float]:
    """Return lines, width and height of a box; an entity's grow with the scale, from 0 to 1."""
    label, detail = show_label(data["label"], kind), data.get("detail", "")
    if kind == "question":
        lines = [Line("QUESTION", 12, LIGHT[kind], bold=True), *_fit(label, 16, 182, 10, bold=True)]
        lines += [line for note in detail.splitlines()[:6] for line in _fit(f"· {note}", 12, 182, 4, _QUIET)]
        return lines, 210, _height(lines) + 24
    if kind == "passage":
        title, text = (label, detail) if clean(data["label"]) else (clean(detail) or label, "")
        lines = [*_fit(title, 14, 254, 2, bold=True), *_fit(text, 12, 254, 2, _QUIET)]
        way = " ".join(f"{link.joint} {link.text}".strip() for link in data["evidence"])
        lines += _fit(way, 12, 254, 2, LIGHT["entity"])
        return lines, 310, max(_height(lines) + 30, 46)
    pad = 6 + 10 * scale if kind == "entity" else 5.0
    fill = _PAPER if kind == "entity" and scale else _INK
    lines = _fit(label, 13 + 3 * scale, 150, 2, fill) if kind == "entity" else _fit(label, 12, 130, 2)
    width = max((measure(line.text, line.size) for line in lines), default=0.0)
    return lines, width + pad + 12, _height(lines) + pad


def _fit(text: str, size: float, width: float, most: int, fill: str = _INK, *, bold: bool = False) -> list[Line]:
    return [Line(line, size, fill, bold) for line in fit(text, size, width, most, bold=bold)]


def _height(lines: Iterable[Line]) -> float:
    return sum(line.size for line in lines) * _LEADING


def _card(kind: str, box: Box, centre: Floats) -> list[str]:
    """Draw a box with its text; a passage's has its rank, and a bar as long as its weight."""
    colour, size = LIGHT[kind], (box.width, box.height)
    left, top = (centre - np.array(size) / 2).tolist()
    fill = colour if kind == "entity" and box.share else LIGHT[f"{kind}-tint"]
    style = f'fill="{fill}" stroke="{colour}" stroke-width="1.3"'
    card = _rect(left, top, *size, box.height / 2 if kind == "entity" else min(box.height / 4, 9), style)
    if kind in {"entity", "fact"}:
        return [card, *_texts(box.lines, left, top + (box.height - _height(box.lines)) / 2, box.width, centred=True)]
    indent = 42.0 if box.rank else 14.0
    room = box.width - indent - 14
    shapes = [card, *_texts(box.lines, left + indent, top + 10, room)]
    if box.rank:
        shapes.append(_rect(left + 11, top + 11, 24, 24, 12, f'fill="{colour}"'))
        shapes += _texts([Line(box.rank, 12, _PAPER, bold=True)], left + 11, top + 15.5, 24, centred=True)
        for width, fill in ((room, _PAPER), (max(room * box.share, 2), colour)):
            shapes.append(_rect(left + indent, top + box.height - 12, width, 4, 2, f'fill="{fill}"'))
    return shapes


def _rect(left: float, top: float, width: float, height: float, radius: float, style: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}" {style}/>'


def _path(command: str, points: Floats, style: str) -> str:
    """Draw a line: the first point, then the points of one SVG command."""
    return f'<path d="M{_pairs(points[:1])} {command}{_pairs(points[1:])}" fill="none" {style}/>'


def _pairs(points: Floats) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points.tolist())


def _texts(lines: Iterable[Line], left: float, top: float, width: float, *, centred: bool = False) -> list[str]:
    """Draw lines one below the other, centred or each at the side where its script begins."""
    elements = []
    for text, size, fill, bold in lines:
        top += size * _LEADING
        from_right = is_right_to_left(text)
        anchor, share = ("middle", 0.5) if centred else ("end", 1.0) if from_right else ("start", 0.0)
        position = f'x="{left + share * width:.1f}" y="{top - 0.3 * size:.1f}" text-anchor="{anchor}"'
        style = f'font-size="{size:.1f}" fill="{fill}"' + ' font-weight="bold"' * bold
        # An embedding instead of the attribute `direction`, which would swap the anchors, but not in every viewer.
        words = f"\u202b{text}\u202c" if from_right else text
        elements.append(f"<text {position} {style}>{escape(words)}</text>")
    return elements


def _group(elements: Iterable[str], hover: Iterable[str] = (), attributes: str = "") -> str:
    """Group elements; browsers show the title when the mouse rests on them."""
    title = escape("\n".join(line for line in map(clean, hover) if line))
    return "\n".join([f"<g {attributes}>", *([f"<title>{title}</title>"] if title else []), *elements, "</g>"])


def _legend(kinds: set[str], width: float, top: float) -> tuple[str, float]:
    """Draw marks and words for the kinds that occur, in columns; also return where they end."""
    shapes: list[str] = []
    columns = max(int((width - 2 * MARGIN) // 300), 1)
    shown = [kind for kind in _LEGEND if kind in kinds]
    for number, kind in enumerate(shown):
        left, middle = MARGIN + 300 * (number % columns), top + 22 * (number // columns)
        if kind in _LINES:
            shapes.append(_path("L", np.array([[left, middle], [left + 30, middle]]), _LINES[kind]))
        else:
            shapes += _card(kind, Box([], 26, 16, 1.0), np.array([left + 15, middle]))
        shapes += _texts([Line(_LEGEND[kind], 12, _QUIET)], left + 38, middle - 7, 240)
    return _group(shapes), top + 22 * -(-len(shown) // columns) + MARGIN / 2
