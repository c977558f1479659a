"""A picture in pixels, by Pillow."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.models import need
from mnemodex.retrievers.graph.drawing.lettering import is_right_to_left
from mnemodex.retrievers.graph.drawing.palette import PAPER
from mnemodex.retrievers.graph.drawing.shapes import Box, Circle, Curve, Polygon, Scene, Shape, Text, bezier

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageDraw import ImageDraw

    from mnemodex.retrievers.graph.drawing.fonts import Fonts

_SCALE = 2.0
"""Pixels of the file for one of the scene: sharp on fine screens and in print."""
_SMOOTH = 2
"""Pixels that are painted for one of the file, along each side: Pillow paints slanting lines with steps."""
_MOST = 24_000_000
"""Pixels of the file: a picture of hundreds of nodes is painted smaller."""


def size_of(scene: Scene) -> tuple[int, int]:
    """Width and height in pixels of the PNG."""
    scale = _scale(scene)
    return max(round(scene.width * scale), 1), max(round(scene.height * scale), 1)


def _scale(scene: Scene) -> float:
    return float(min(_SCALE, (_MOST / (scene.width * scene.height)) ** 0.5))


def to_png(scene: Scene) -> bytes:
    """The picture as a PNG file.

    Raises:
        ImportError: Pillow is not installed; the message names the extra.
    """
    need("PIL", extra="picture")
    from PIL import Image, ImageDraw

    from mnemodex.retrievers.graph.drawing.fonts import Fonts

    width, height = size_of(scene)
    image = Image.new("RGB", (width * _SMOOTH, height * _SMOOTH), PAPER)
    scale = _scale(scene) * _SMOOTH
    painter = _Painter(ImageDraw.Draw(image), scale, Fonts(scale))
    for group in scene.groups:
        for shape in group.shapes:
            painter.paint(shape)
    out = io.BytesIO()
    image.resize((width, height), Image.Resampling.LANCZOS).save(out, "PNG", optimize=True)
    return out.getvalue()


class _Painter:
    def __init__(self, draw: ImageDraw, scale: float, fonts: Fonts) -> None:
        self._draw = draw
        self._scale = scale
        self._fonts = fonts

    def paint(self, shape: Shape) -> None:
        scale = self._scale
        match shape:
            case Circle(x, y, radius, fill, stroke):
                box = [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
                self._draw.ellipse(box, fill, stroke, max(round(scale), 1))
            case Box(x, y, width, height, radius, fill, stroke, line):
                box = [x * scale, y * scale, (x + width) * scale, (y + height) * scale]
                self._draw.rounded_rectangle(box, radius * scale, fill, stroke, round(line * scale))
            case Curve(points, stroke, width, dash):
                self._curve(points * scale, stroke, width * scale, dash)
            case Polygon(points, fill):
                self._draw.polygon([(x, y) for x, y in (points * scale).tolist()], fill)
            case Text():
                self._text(shape)

    def _curve(self, points: NDArray[np.float64], stroke: str, width: float, dash: tuple[float, float] | None) -> None:
        along = bezier(points, 200)
        parts = [along] if dash is None else _dashes(along, dash[0] * self._scale, dash[1] * self._scale)
        for part in parts:
            self._draw.line([(x, y) for x, y in part.tolist()], stroke, max(round(width), 1), joint="curve")

    def _text(self, text: Text) -> None:
        runs = self._fonts.runs(text.text, text.size)
        if is_right_to_left(text.text):
            runs.reverse()
        total = sum(font.getlength(part) for part, font in runs)
        most = text.width * self._scale
        if total > most > 0:
            runs = self._fonts.runs(text.text, text.size * most / total)
            runs = runs[::-1] if is_right_to_left(text.text) else runs
            total = sum(font.getlength(part) for part, font in runs)
        x = text.x * self._scale - {"left": 0.0, "middle": total / 2, "right": total}[text.anchor]
        # Pillow's own font has one weight: bold letters get an edge.
        edge, colour = (1.6, text.halo) if text.halo else (0.015 * text.size * text.bold, text.fill)
        for part, font in runs:
            place = (x, text.y * self._scale)
            stroke = round(edge * self._scale)
            self._draw.text(place, part, text.fill, font, anchor="ls", stroke_width=stroke, stroke_fill=colour)
            x += font.getlength(part)


def _dashes(along: NDArray[np.float64], on: float, off: float) -> list[NDArray[np.float64]]:
    """The parts of a line that are painted: each float64 of shape (9, 2)."""
    length = np.concatenate([[0.0], np.hypot(*np.diff(along, axis=0).T).cumsum()])
    starts = np.arange(0.0, length[-1], on + off)
    at = starts[:, None] + np.linspace(0.0, on, 9)
    return list(np.stack([np.interp(at, length, along[:, 0]), np.interp(at, length, along[:, 1])], axis=2))
