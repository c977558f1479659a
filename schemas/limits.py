"""How many failures a build accepts: a number, or a percentage of what was tried."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from pydantic import BeforeValidator

SHARE = "20%"
"""Of answers of a language model: so many fail with good models, and more make a graph of holes."""
_SAMPLE = 100
"""Rows that were tried from which on a percentage is judged before all were."""


def _checked(limit: Any) -> Any:
    good = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
    if isinstance(limit, str) and limit.endswith("%"):
        with suppress(ValueError):
            good = 0 <= float(limit[:-1]) <= 100
    if not good:
        raise ValueError("should be a whole number, 0 or more, or a percentage such as 20%")
    return limit


# Before the union: each of its types would have a message of its own.
MaxErrors = Annotated[int | str, BeforeValidator(_checked)]
"""A number of rows, or a percentage of them as `20%`."""


def exceeds(limit: int | str, failed: int, tried: int, *, complete: bool = True) -> bool:
    """Return whether more failed than a `MaxErrors` accepts; a percentage of few rows says nothing before the end."""
    if isinstance(limit, int):
        return failed > limit
    return (complete or tried >= _SAMPLE) and failed > float(limit[:-1]) / 100 * tried
