"""What a build says of its steps: failures beyond a limit, warnings, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.schemas.kinds import load

if TYPE_CHECKING:
    from mnemodex.pipelines.results import StepResults
    from mnemodex.schemas.manifest import IndexEntry


def check(results: StepResults) -> None:
    """Have a step's op judge what it has given so far.

    Raises:
        MnemodexError: more rows failed than the recipe accepts.
    """
    judge = getattr(load(results.step.op), "check", None)
    if judge is not None:
        judge(results)


def conclude(results: StepResults) -> list[str]:
    """Have a step's op judge the complete step; return its warnings.

    Raises:
        MnemodexError: nothing can be built of it.
    """
    judge = getattr(load(results.step.op), "complete", None)
    found: list[str] = judge(results) if judge is not None else []
    return found


def note(results: StepResults) -> str:
    """Return the line of a step below the closing table; empty where there is nothing to say."""
    make = getattr(load(results.step.op), "note", None)
    found: str = make(results) if make is not None else ""
    return found


def low_recall(entries: dict[str, IndexEntry]) -> list[str]:
    """Return a warning for every index whose recall is below its target."""
    return [
        f"index {name!r}: recall@{entry.recall.k} is {entry.recall.recall:.3f}, below its target of "
        f"{entry.recall.target}; try another factory or more links"
        for name, entry in entries.items()
        if entry.recall is not None and not entry.recall.reached
    ]
