"""How many failures a build accepts: a number, or a percentage of what was tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

SHARE = "20%"
"""Of answers of a language model: so many fail with good models, and more make a graph of holes."""
_SAMPLE = 100
"""Rows that were tried from which on a percentage is judged before all were."""


def _checked(limit: int | str) -> int | str:
    if isinstance(limit, int):
        good = limit >= 0
    else:
        try:
            good = limit.endswith("%") and 0 <= float(limit[:-1]) <= 100
        except ValueError:
            good = False
    if not good:
        raise ValueError("Input should be greater than or equal to 0, or a percentage such as 20%")
    return limit


MaxErrors = Annotated[int | str, AfterValidator(_checked)]
"""A number of rows, or a percentage of them as `20%`."""


def exceeds(limit: int | str, failed: int, tried: int, *, complete: bool = True) -> bool:
    """Return whether more failed than a `MaxErrors` accepts; a percentage of few rows says nothing before the end."""
    if isinstance(limit, int):
        return failed > limit
    return (complete or tried >= _SAMPLE) and failed > float(limit[:-1]) / 100 * tried
