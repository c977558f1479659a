"""Answers that are errors become exceptions, as a memory of this machine would raise them; some are worth a wait."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.schemas import errors
from mnemodex.schemas.errors import MnemodexError, RateError, ServerError, UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

ATTEMPTS = 4
"""How often a request is sent at most."""
_LONGEST_PAUSE = 30.0
"""Seconds that are waited before a request is repeated, whatever the server asks for."""
_FIRST_PAUSE = 0.1
_BUSY = (429, 503)


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


def pause_before_next(outcome: Answer | NoConnection, attempt: int) -> float | None:
    """Return the seconds after which a request is sent again; None where the outcome stands.

    Args:
        outcome: of this attempt.
        attempt: its number, from 1.
    """
    if attempt >= ATTEMPTS:
        return None
    if isinstance(outcome, NoConnection):
        # Clients that lost one server do not all return at the same moment.
        spread = 0.5 + random.random()  # noqa: S311 - not for secrets
        return _FIRST_PAUSE * 2 ** (attempt - 1) * spread if outcome.repeat else None
    if outcome.status not in _BUSY:
        return None
    asked = _seconds(outcome.headers.get("retry-after", ""))
    return None if asked is None else min(asked, _LONGEST_PAUSE)


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
    try:
        body = json.loads(outcome.body)
        if outcome.status == 200:
            return body
        problem = body["error"]
        code, message, remedy = (str(problem[name]) for name in ("code", "message", "remedy"))
    except (ValueError, LookupError, TypeError) as error:
        raise ServerError(
            f"{url}: answers with status {outcome.status}, and not as a Mnemodex server does. Check the address"
        ) from error
    text = f"{message}. {remedy}"
    if code == "rate":
        raise RateError(text, retry_after=_seconds(outcome.headers.get("retry-after", "")) or 0.0)
    raise _CLASSES.get(code, _class_of(outcome.status))(text)


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
    "timeout": errors.RequestTimeoutError,
    "snapshot_refused": errors.SnapshotRefusedError,
    "storage": errors.FeedbackError,
    "corrupt": errors.CorruptFileError,
    "model": errors.ModelError,
    "failed": errors.MnemodexError,
}
"""Exceptions by the codes of servers."""
