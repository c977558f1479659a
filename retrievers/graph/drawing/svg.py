"""A picture as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mnemodex.retrievers.graph.drawing.lettering import clean, is_right_to_left
from mnemodex.retrievers.graph.drawing.palette import PAPER
from mnemodex.retrievers.graph.drawing.shapes import Box, Circle, Curve, Polygon, Scene, Shape, Text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FONTS = "'Helvetica Neue', Arial, 'Noto Sans', 'DejaVu Sans', sans-serif"

_FROM_RIGHT, _BACK = "\u202b", "\u202c"


def to_svg(scene: Scene) -> str:
    """The picture as one SVG element; every text is escaped, and nothing outside is referred to."""
    title = escape(scene.title)
    size = f'width="{scene.width}" height="{scene.height}" viewBox="0 0 {scene.width} {scene.height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONTS}">',
        f"<title>{title}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
    ]
    for group in scene.groups:
        node = "" if group.node is None else f' class="node" data-node="{group.node}"'
        ends = f' class="edge" data-ends="{" ".join(map(str, group.ends))}"' if group.ends else ""
        hover = "\n".join(map(clean, group.hover.split("\n")))
        parts.append(f"<g{node}{ends}>")
        # A title is what browsers show when the mouse rests on it.
        parts += [f"<title>{escape(hover)}</title>"] if hover else []
        parts += [_shape(shape) for shape in group.shapes]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _shape(shape: Shape) -> str:
    match shape:
        case Circle(x, y, radius, fill, stroke):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" stroke="{stroke}"/>'
        case Box(x, y, width, height, radius, fill, stroke, line):
            corner = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius:g}"'
            return f'<rect {corner} fill="{fill}" stroke="{stroke}" stroke-width="{line:g}"/>'
        case Curve(points, stroke, width, dash):
            start, *rest = _pairs(points)
            dashes = f' stroke-dasharray="{dash[0]:g} {dash[1]:g}" stroke-linecap="round"' if dash else ""
            path = f"M{start} C{' '.join(rest)}"
            return f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="{width:.1f}"{dashes}/>'
        case Polygon(points, fill):
            return f'<polygon points="{" ".join(_pairs(points))}" fill="{fill}"/>'
        case Text():
            return _text(shape)


def _pairs(points: NDArray[np.float64]) -> list[str]:
    return [f"{x:.1f},{y:.1f}" for x, y in points.tolist()]


def _text(text: Text) -> str:
    anchor = {"left": "start", "middle": "middle", "right": "end"}[text.anchor]
    style = f' text-anchor="{anchor}"'
    style += ' font-weight="bold"' if text.bold else ""
    style += f' stroke="{text.halo}" stroke-width="4" stroke-linejoin="round" paint-order="stroke"' if text.halo else ""
    place = f'x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size:.1f}" fill="{text.fill}"'
    # The attribute `direction` would swap the anchors, but not in every viewer.
    words = f"{_FROM_RIGHT}{text.text}{_BACK}" if is_right_to_left(text.text) else text.text
    return f"<text {place}{style}>{escape(words)}</text>"
