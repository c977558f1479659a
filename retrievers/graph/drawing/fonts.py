"""Fonts for pictures in pixels: Pillow's own, and those of the machine for scripts that it has not."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_FOLDERS = (
    "~/.fonts",
    "~/.local/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_FILES = ("DejaVuSans.ttf", "NotoSans-Regular.*", "NotoSans*-Regular.*", "Arial Unicode.ttf")
_MISSING = "\uffff"
"""No character: a font shows what it shows for those that it has not."""


class Fonts:
    """Finds a font that has all letters of a text, or one for each part of it.

    Args:
        scale: pixels of the picture for one of the scene.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def runs(self, text: str, size: float) -> list[tuple[str, FreeTypeFont]]:
        """A line in parts, each with its font; letters that no font has come as boxes.

        Args:
            text: a line.
            size: of the letters, in pixels of the scene.
        """
        pixels = max(round(size * self._scale), 1)
        # One font for all of it lets a text of two directions be set right.
        if any(unicodedata.bidirectional(letter) in {"R", "AL"} for letter in text):
            whole = _first(text)
            if whole is not None:
                return [(text, _font(whole, pixels))]
        runs: list[tuple[str, int]] = []
        for cluster in _clusters(text):
            chosen = _first(cluster) or 0
            if runs and runs[-1][1] == chosen:
                runs[-1] = (runs[-1][0] + cluster, chosen)
            else:
                runs.append((cluster, chosen))
        return [(part, _font(place, pixels)) for part, place in runs]


def _clusters(text: str) -> list[str]:
    """Letters with the marks that belong to them."""
    found: list[str] = []
    for letter in text:
        if found and unicodedata.category(letter) in {"Mn", "Mc", "Me", "Cf"}:
            found[-1] += letter
        else:
            found.append(letter)
    return found


def _first(text: str) -> int | None:
    """The first font that has all letters of a text."""
    return next((place for place in range(_count()) if all(_has(place, letter) for letter in text)), None)


@functools.cache
def _paths() -> list[Path]:
    """The machine's fonts in the order in which they are asked."""
    folders = [Path(folder).expanduser() for folder in _FOLDERS]
    found = [path for name in _FILES for folder in folders if folder.is_dir() for path in sorted(folder.rglob(name))]
    return list(dict.fromkeys(found))


def _count() -> int:
    """Pillow's own font is number 0."""
    return len(_paths()) + 1


@functools.lru_cache(maxsize=256)
def _font(place: int, pixels: int) -> FreeTypeFont:
    from PIL import ImageFont

    if place:
        return ImageFont.truetype(str(_paths()[place - 1]), pixels)
    own: FreeTypeFont = ImageFont.load_default(pixels)  # type: ignore[assignment] # given a size, it is scalable
    return own


@functools.lru_cache(maxsize=1 << 16)
def _has(place: int, letter: str) -> bool:
    if letter.isspace() or unicodedata.category(letter) == "Cf":
        return True
    return _look(place, letter) != _look(place, _MISSING)


@functools.lru_cache(maxsize=1 << 16)
def _look(place: int, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(place, 24).getmask(letter)
    return mask.size, bytes(mask)
