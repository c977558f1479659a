"""Cards with text: the question, and passages by rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnemodex.retrievers.graph.drawing.lettering import clean, fit, is_right_to_left, measure
from mnemodex.retrievers.graph.drawing.palette import (
    INK,
    PAPER,
    PASSAGE,
    PASSAGE_TINT,
    QUESTION,
    QUESTION_TINT,
    QUIET,
)
from mnemodex.retrievers.graph.drawing.shapes import Box, Circle, Shape, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.graph.subgraph import Node

QUESTION_WIDTH = 230
PASSAGE_WIDTH = 330
_PAD = 14
_LEADING = 1.35
_BADGE = 12


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a card: its text, the size of its letters, and how they are set."""

    text: str
    size: float
    fill: str
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A box with lines of text.

    Attributes:
        width: in pixels.
        height: in pixels.
        lines: from above; one without text is a gap.
        indent: how far the lines begin from the left edge.
        colours: of the box and its border.
        badge: what stands in a disc at the upper left; empty for none.
        share: how much of a bar below the text is filled, from 0 to 1; None for no bar.
    """

    width: float
    height: float
    lines: list[Line]
    indent: float
    colours: tuple[str, str]
    badge: str = ""
    share: float | None = None

    def shapes(self, x: float, y: float) -> list[Shape]:
        """The card with its upper left corner there."""
        tint, colour = self.colours
        drawn: list[Shape] = [Box(x, y, self.width, self.height, 9, tint, colour, 1.4)]
        room = self.width - self.indent - _PAD
        base = y + _PAD - 4
        for line in self.lines:
            base += line.size * _LEADING
            if not line.text:
                continue
            right = is_right_to_left(line.text)
            left = x + self.indent + (room if right else 0)
            anchor: Literal["left", "right"] = "right" if right else "left"
            width = min(measure(line.text, line.size, bold=line.bold), room)
            drawn.append(Text(left, base - 2, line.text, line.size, width, line.fill, anchor, line.bold))
        if self.badge:
            middle = (x + _PAD + _BADGE - 3, y + _PAD + _BADGE - 3)
            drawn.append(Circle(*middle, _BADGE, colour, colour))
            drawn.append(Text(middle[0], middle[1] + 4, self.badge, 12, 2 * _BADGE - 4, PAPER, "middle", bold=True))
        if self.share is not None:
            drawn.append(Box(x + self.indent, y + self.height - 12, room, 4, 2, PAPER, PAPER, 0))
            drawn.append(Box(x + self.indent, y + self.height - 12, max(room * self.share, 2), 4, 2, colour, colour, 0))
        return drawn


def question_card(question: str, notes: Sequence[str]) -> Card:
    """The question in full as far as ten lines go, and notes in small print."""
    room = QUESTION_WIDTH - 2 * _PAD
    lines = [Line("QUESTION", 10, QUESTION, bold=True)]
    lines += [Line(line, 15, INK, bold=True) for line in fit(question, 15, room, 10, bold=True)]
    for note in notes[:6]:
        lines.append(Line("", 5, QUIET))
        lines += [Line(line, 11, QUIET) for line in fit(note, 11, room, 4)]
    return Card(QUESTION_WIDTH, _height(lines), lines, _PAD, (QUESTION_TINT, QUESTION))


def passage_card(node: Node, rank: int, best: float) -> Card:
    """A passage's rank, title and beginning, with a bar as long as its weight; `best` is that of the first."""
    indent = 2 * _BADGE + _PAD + 4
    room = PASSAGE_WIDTH - indent - _PAD
    title, text = (node.label, node.detail) if clean(node.label) else (node.detail, "")
    lines = [Line(line, 13, INK, bold=True) for line in fit(title, 13, room, 2, bold=True)]
    lines += [Line(line, 11, QUIET) for line in fit(text, 11, room, 2)]
    share = min(node.weight / best, 1.0) if best > 0 else 0.0
    return Card(PASSAGE_WIDTH, max(_height(lines) + 10, 46), lines, indent, (PASSAGE_TINT, PASSAGE), str(rank), share)


def _height(lines: Sequence[Line]) -> float:
    return 2 * _PAD - 6 + sum(line.size * _LEADING for line in lines)
