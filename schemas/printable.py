"""Text of others as it is shown to people: characters that act on a terminal are written as escapes."""

from __future__ import annotations

import re

_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters of ASCII and C1, line ends, marks that turn the direction of what follows, lone surrogates."""


def printable(text: str) -> str:
    r"""Return a text in one line, as written in Python: the escape character is `\x1b`, a line end `\n`."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def without_acting(text: str) -> str:
    """Return a text in one line without the characters that act on a terminal; white space becomes single blanks."""
    return _ACTING.sub("", " ".join(text.split()))


def printable_lines(text: str) -> str:
    """Return a text as `printable`, but with its line ends and with blanks for its tabs."""
    return "\n".join(printable(line.removesuffix("\r").expandtabs()) for line in text.split("\n"))
