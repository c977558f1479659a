"""The figures of a study of insertion orders as an SVG picture: a panel for each library, a line for each order."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.dense.order_study import ENGINES, ORDERS, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.dense.order_study import OrderRecall
    from mnemodex.indexers.vector_settings import Order

_COLOURS = dict(zip(ORDERS, ("#1f2933", "#0072b2", "#d55e00", "#009e73", "#9b4872"), strict=True))
"""Colours that colour-blind readers distinguish (Okabe and Ito, 2008); orders differ in their dashes too."""
_DASHES = dict(zip(ORDERS, ("", "8 3", "2 3", "8 3 2 3", "4 4"), strict=True))
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 380, 300, 60, 60, 70
_FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#1f2933"'


def plot_orders(recalls: Sequence[OrderRecall], title: str) -> str:
    """Return the picture; bars are 95 % intervals over the seeds."""
    low = min(mean - half for recall in recalls for mean, half in zip(recall.means, recall.half_widths, strict=True))
    bottom = max(0.0, np.floor(low * 20) / 20)
    width = _LEFT + len(ENGINES) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'{_FONT} role="img"><title>{escape(title)}</title><rect width="100%" height="100%" fill="#ffffff"/>',
        _text(_LEFT, 22, title, 'font-size="14" font-weight="bold"'),
    ]
    for number, engine in enumerate(ENGINES):
        left = _LEFT + number * (_WIDTH + _GAP)
        parts += _axes(left, engine, bottom)
        for recall in recalls:
            if recall.engine == engine:
                parts += _line(left, recall, bottom)
    for number, order in enumerate(ORDERS):
        x, y = _LEFT + 130 * number, _TOP + _HEIGHT + 70
        parts.append(f'<path d="M{x} {y - 4}h28" {_stroke(order)}/>')
        parts.append(_text(x + 34, y, order))
    return "\n".join([*parts, "</svg>\n"])


def _axes(left: float, engine: str, bottom: float) -> Iterable[str]:
    yield _text(left + _WIDTH / 2, _TOP - 12, engine, 'text-anchor="middle"')
    yield f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#5f6b7a"/>'
    for share in np.linspace(bottom, 1, 6).tolist():
        y = _y(share, bottom)
        yield f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#d8dee6" stroke-width="0.7"/>'
        yield _text(left - 6, y + 4, f"{share:.2f}", 'text-anchor="end"')
    for value in VALUES:
        yield _text(_x(left, value), _TOP + _HEIGHT + 18, str(value), 'text-anchor="middle"')
    name = "efSearch" if engine == "faiss" else "ef"
    yield _text(left + _WIDTH / 2, _TOP + _HEIGHT + 38, f"{name}; recall@10 upwards", 'text-anchor="middle"')


def _line(left: float, recall: OrderRecall, bottom: float) -> Iterable[str]:
    points = [(_x(left, value), _y(mean, bottom)) for value, mean in zip(recall.values, recall.means, strict=True)]
    path = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield f'<path d="M{path}" {_stroke(recall.order)}/>'
    # Side by side, so that no bar covers another.
    offset = 2 * (ORDERS.index(recall.order) - len(ORDERS) // 2)
    for (centre, _), mean, half in zip(points, recall.means, recall.half_widths, strict=True):
        x = centre + offset
        ends = [_y(min(1.0, max(bottom, end)), bottom) for end in (mean - half, mean + half)]
        bar = f"M{x - 3:.1f} {ends[0]:.1f}h6m-3 0V{ends[1]:.1f}m-3 0h6"
        yield f'<path d="{bar}" stroke="{_COLOURS[recall.order]}" fill="none"/>'


def _stroke(order: Order) -> str:
    return f'fill="none" stroke="{_COLOURS[order]}" stroke-width="1.8" stroke-dasharray="{_DASHES[order]}"'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def _x(left: float, value: int) -> float:
    first, last = np.log2([VALUES[0], VALUES[-1]]).tolist()
    return float(left + 12 + (_WIDTH - 24) * (np.log2(value) - first) / (last - first))


def _y(share: float, bottom: float) -> float:
    return _TOP + _HEIGHT * (1 - (share - bottom) / (1 - bottom or 1))
