"""Answers that are errors become exceptions, as a memory of this machine would raise them; some are worth a wait."""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.schemas import errors
from mnemodex.schemas.errors import MnemodexError, RateError, ServerError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOSSES = 5
"""How often a request is sent at most whose connection or replica is lost: it may itself be what ends them."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts, where the server does not ask for more."""
_BUSY = (429, 503)
_GATEWAY = (500, 502, 503, 504)
"""What a proxy says of a server that it cannot ask; where the server itself says it, there is an error in the body."""


class Answer(NamedTuple):
    """What a server answered to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoConnection(NamedTuple):
    """Why a request had no answer.

    Attributes:
        text: what the HTTP library says.
        repeat: whether the connection broke, so that another one may do; not where the time was up.
    """

    text: str
    repeat: bool


class Attempts:
    """When a request is sent again: as long as its time is not up, and a pause would not use it up.

    Args:
        seconds: that the request has.
    """

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds
        self._number = 0

    def pause_after(self, outcome: Answer | NoConnection) -> float | None:
        """Return the seconds after which the request is sent again; None where the outcome of an attempt stands."""
        self._number += 1
        asked = _least_pause(outcome, self._number)
        if asked is None:
            return None
        # Clients that lost one server do not all return at the same moment.
        spread = 0.5 + random.random()  # noqa: S311 - not for secrets
        pause = max(asked, spread * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (self._number - 1)))
        return pause if monotonic() + pause < self._end else None


def _least_pause(outcome: Answer | NoConnection, attempt: int) -> float | None:
    """Return the seconds that have to go by before another attempt; None where it would be of no use."""
    if _is_lost(outcome):
        return 0.0 if attempt < LOSSES else None
    if isinstance(outcome, NoConnection) or outcome.status not in _BUSY:
        return None
    return _seconds(outcome.headers.get("retry-after", ""))


def _is_lost(outcome: Answer | NoConnection) -> bool:
    """Return whether what was to answer is gone, by the connection, by the server, or by a proxy before it."""
    if isinstance(outcome, NoConnection):
        return outcome.repeat
    problem = _problem_in(outcome)
    return problem[0] == "replica_lost" if problem is not None else outcome.status in _GATEWAY


def _seconds(retry_after: str) -> float | None:
    """Return the seconds that the header Retry-After names, as a number or as a date; None for anything else."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())


def read_answer(url: str, outcome: Answer | NoConnection) -> Any:
    """Return the body of an answer.

    Raises:
        ServerError: there is no answer, or it is not one of a Mnemodex server.
        MnemodexError: the server refuses; of the class that a memory of this machine would raise.
    """
    if isinstance(outcome, NoConnection):
        raise ServerError(f"{url}: {outcome.text}. Check the address and that the server runs")
    problem = _problem_in(outcome)
    if problem is None:
        with contextlib.suppress(ValueError):
            if outcome.status == 200:
                return json.loads(outcome.body)
        raise ServerError(
            f"{url}: answers with status {outcome.status}, and not as a Mnemodex server does. Check the address"
        )
    code, text = problem
    if code == "rate":
        raise RateError(text, retry_after=_seconds(outcome.headers.get("retry-after", "")) or 0.0)
    raise _CLASSES.get(code, _class_of(outcome.status))(text)


def _problem_in(answer: Answer) -> tuple[str, str] | None:
    """Return the code and the text of an answer that is an error of a Mnemodex server; None for any other."""
    if answer.status == 200:
        return None
    try:
        problem = json.loads(answer.body)["error"]
        code, message, remedy = (str(problem[name]) for name in ("code", "message", "remedy"))
    except (ValueError, LookupError, TypeError):
        return None
    return code, f"{message}. {remedy}"


def _class_of(status: int) -> type[MnemodexError]:
    """Return the exception of a code that is not known."""
    if status in {401, 403}:
        return errors.KeyRefusedError if status == 401 else errors.AccessError
    return MnemodexError if status >= 500 else UserError


_CLASSES: dict[str, type[MnemodexError]] = {
    "unauthorized": errors.KeyRefusedError,
    "forbidden": errors.AccessError,
    "unknown_memory": errors.UnknownMemoryError,
    "unknown_index": errors.UnknownIndexError,
    "limit": errors.LimitError,
    "too_large": errors.LimitError,
    "bad_query": errors.QueryError,
    "invalid": errors.QueryError,
    "not_json": errors.QueryError,
    "bad_request": errors.UserError,
    "busy": errors.BusyError,
    "reader": errors.ChatServerError,
    "replica_lost": errors.ServerError,
    "unavailable": errors.ServerError,
    "timeout": errors.RequestTimeoutError,
    "snapshot_refused": errors.SnapshotRefusedError,
    "storage": errors.FeedbackError,
    "corrupt": errors.CorruptFileError,
    "model": errors.ModelError,
    "failed": errors.MnemodexError,
}
"""Exceptions by the codes of servers."""
