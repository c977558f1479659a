"""A limit to the time that rewriting takes."""

from __future__ import annotations

import time


class Pace:
    """The time that a rewrite takes, as the last batches measured it.

    Attributes:
        seconds: of one text, with all that is done for it; None before the first one.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None

    def measure(self, seconds: float, texts: int) -> None:
        """Count what some texts took: the newest measurement weighs as much as all before it."""
        measured = seconds / texts
        self.seconds = measured if self.seconds is None else (self.seconds + measured) / 2


class Budget:
    """The time for the rewrites of one batch of questions, by the clock on the wall.

    Args:
        ms: milliseconds of one question.
        questions: of the batch.
        pace: how long a rewrite takes; it is measured along the way.

    Attributes:
        reason: why something was left out to keep it.
    """

    def __init__(self, ms: float, questions: int, pace: Pace) -> None:
        self.reason = f"as budget_ms is {ms:g}"
        self.pace = pace
        self._questions = questions
        self._end = time.perf_counter() + ms * questions / 1e3

    @property
    def is_spent(self) -> bool:
        """Whether no time is left."""
        return time.perf_counter() >= self._end

    def texts(self) -> int:
        """Return how many more texts there is time for; one a question where it is not known how long they take."""
        left = self._end - time.perf_counter()
        if left <= 0:
            return 0
        return self._questions if self.pace.seconds is None else int(left / self.pace.seconds)
