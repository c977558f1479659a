"""Ages as people write them: `7d`, `12h`."""

from __future__ import annotations

import re
from datetime import timedelta

_AGE = re.compile(r"(\d{1,6})([wdhms])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_age(text: str) -> timedelta:
    """Return the age that a number and a unit (w, d, h, m or s) give.

    Raises:
        ValueError: it is no such text.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:20]!r} is no age; write 7d, 12h or 30m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
