"""What the tests with random inputs share: their seed, how much they try, and odd values and texts."""

from __future__ import annotations

import os
import random

import pytest

SEED = os.environ.get("FAULTS_SEED", "1")
"""The same inputs at each run; another number in the environment gives others."""

SURROGATE = "\ud800"
_LETTERS = [
    *"aeinrst  ",
    *"éßñ",
    *"港の灯台毎晩",
    *"маяк",
    *"ميناء",
    *"पुस्तक",
    *"서울",
    *"🚢👩‍🚀",
    "e\u0301",
    "\u202e",
    "\ufeff",
    "\u200b",
]
_CONTROLS = [chr(code) for code in (*range(32), 127, 0x85, 0x9B, 0x2028)]


def rounds(few: int, many: int) -> pytest.MarkDecorator:
    """Try a few inputs in every run of the tests, and many by `make faults`."""
    return pytest.mark.parametrize("rounds", [few, pytest.param(many, marks=pytest.mark.faults)])


def stream(*names: object) -> random.Random:
    """Random numbers that belong to these names and the seed."""
    return random.Random(" ".join(map(str, (SEED, *names))))


def random_text(chance: random.Random, words: list[str]) -> str:
    """Known words, letters of many scripts, control characters, lone surrogates, nothing, or very much."""
    match chance.randrange(8):
        case 0:
            return ""
        case 1:
            return " ".join(chance.choices(words, k=chance.randint(1, 12)))
        case 2:
            return "".join(chance.choices(_LETTERS, k=chance.randint(1, 40)))
        case 3:
            return "".join(chance.choices(_LETTERS + _CONTROLS, k=chance.randint(1, 40)))
        case 4:
            return "".join(map(chr, (chance.randrange(0x110000) for _ in range(chance.randint(1, 20)))))
        case 5:
            return chance.choice(
                [SURROGATE, "\udfff", f"a {SURROGATE} b", "\0", " \t\n", "\u200b", "\ufffe", '"', "' OR 1"]
            )
        case 6:
            return chance.choice(words + _LETTERS) * chance.choice([100, 1000, 20000])
        case _:
            return chance.choice(words) + chance.choice(_LETTERS + _CONTROLS) + chance.choice(words)
