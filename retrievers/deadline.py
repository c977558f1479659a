"""A bound on the time of a call, and a thread that is left behind where the call cannot be stopped."""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_GRACE = 0.5
"""Seconds in which a call that was interrupted has to end."""
_EXIT_GRACE = 5.0
"""Seconds by which calls that were left behind hold up the end of the program."""
_THREAD = "sql"


class Deadline:
    """The moment at which a call has to be over.

    Attributes:
        seconds: how long the call may take.

    Raises:
        QueryError: the seconds are no positive number.
    """

    def __init__(self, seconds: float) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
            raise QueryError(f"seconds is {seconds!r}; give a positive number, such as seconds=60")
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise `QueryError` where no time is left."""
        if not self.left:
            raise self.error()

    def error(self) -> QueryError:
        """Return what says that the time is up."""
        return QueryError(
            f"the statement ran longer than {self.seconds:g} s and was stopped; narrow it, or raise --timeout (in "
            "Python: seconds=)"
        )


class Call(Generic[_T]):
    """A call in a thread of its own, for work that has no bound itself.

    Args:
        work: what is called; it is asked to end by `interrupt`.
        interrupt: makes `work` end as soon as it looks; called at the deadline, and where the caller is interrupted.
    """

    def __init__(self, work: Callable[[], _T], interrupt: Callable[[], None]) -> None:
        self._work = work
        self._interrupt = interrupt
        self._results: list[_T] = []
        self._error: BaseException | None = None

    def result(self, deadline: Deadline) -> _T:
        """Return what the work returns, or raise what it raises.

        Work that does not look within half a second of its interruption is left behind: its thread ends when it does,
        and holds up the end of a program by some seconds at most.

        Raises:
            QueryError: the deadline passed.
        """
        thread = threading.Thread(target=self._run, daemon=True, name=_THREAD)
        thread.start()
        try:
            thread.join(deadline.left)
        except BaseException:
            self._interrupt()
            # A program that ends meanwhile would end its threads in the midst of DuckDB, which aborts.
            thread.join(_GRACE)
            raise
        if thread.is_alive():
            self._interrupt()
            thread.join(_GRACE)
        if self._results:
            return self._results[0]
        if self._error is None or not deadline.left:
            raise deadline.error() from self._error
        raise self._error

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:
            self._error = error


def any_left_behind() -> bool:
    """Whether some call of this process still works past its deadline, where none is waited for."""
    return any(thread.name == _THREAD for thread in threading.enumerate())


@atexit.register
def _join_left() -> None:
    """Let calls that were left behind end: what they hold is freed only then, which DuckDB complains of at exit."""
    deadline = Deadline(_EXIT_GRACE)
    for thread in threading.enumerate():
        if thread.name == _THREAD:
            thread.join(deadline.left)
