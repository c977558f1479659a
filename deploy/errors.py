"""What a request is answered that fails: a status, a code, a message and a remedy, and no path of the machine."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from mnemodex.schemas.errors import (
    AccessError,
    BusyError,
    ChatServerError,
    CorruptFileError,
    FeedbackError,
    KeyRefusedError,
    LimitError,
    MnemodexError,
    ModelError,
    QueryError,
    RateError,
    RequestTimeoutError,
    SnapshotRefusedError,
    UnknownIndexError,
    UnknownMemoryError,
    UserError,
)
from mnemodex.schemas.validation import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnemodex.schemas.store.object_url import Root

_KNOWN: tuple[tuple[type[Exception], int, str], ...] = (
    (KeyRefusedError, 401, "unauthorized"),
    (AccessError, 403, "forbidden"),
    (UnknownMemoryError, 404, "unknown_memory"),
    (UnknownIndexError, 404, "unknown_index"),
    (LimitError, 422, "limit"),
    (QueryError, 400, "bad_query"),
    (RateError, 429, "rate"),
    (SnapshotRefusedError, 409, "snapshot_refused"),
    (BusyError, 429, "busy"),
    (RequestTimeoutError, 504, "timeout"),
    (ChatServerError, 502, "reader"),
    (CorruptFileError, 503, "corrupt"),
    (FeedbackError, 507, "storage"),
    (ModelError, 503, "model"),
    (UserError, 422, "bad_request"),
    (MnemodexError, 500, "failed"),
)
"""The status and the code of errors, the first class that fits."""

_REMEDIES = {
    "corrupt": "Restore the memory's files or build it again, then reload",
    "failed": "See the server's log",
    "internal": "Report it, with the request's id; the server's log says more",
    "reader": "Look after the server of the reader's model, then ask again",
    "model": "Install the model on the server, then reload",
}
_REMEDY = "Correct the request; /docs describes it"

_PATH = re.compile(
    r"(?P<before>^|[\s(=…])/(?:[^\s/'\";,]+/)+(?P<name>[^\s/'\";,]+)"
    r"|(?P<quote>['\"])…?/(?:[^/'\"\n]+/)+(?P<quoted>[^/'\"\n]+)(?=(?P=quote))"
)
"""An absolute path; in quotation marks one that may have spaces."""


class Problem(NamedTuple):
    """The answer to a request that fails.

    Attributes:
        status: of HTTP.
        code: what went wrong, for programs.
        message: likewise, for people.
        remedy: what to do.
        retry_after: seconds after which the request may come again; None where that does not help.
    """

    status: int
    code: str
    message: str
    remedy: str
    retry_after: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the body."""
        return {"error": {"code": self.code, "message": self.message, "remedy": self.remedy}}


def problem_of(error: Exception, folders: Mapping[str, Root]) -> Problem:
    """Return the answer to an exception; of one that is not ours it says nothing.

    Args:
        error: what was raised.
        folders: of the memories that are served, by name.
    """
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the body"
        status, code = (400, "not_json") if first["type"] == "json_invalid" else (422, "invalid")
        return Problem(status, code, f"{key}: {say(first)}", _REMEDY)
    for kind, status, code in _KNOWN:
        if isinstance(error, kind):
            message, remedy = _split(hide_paths(str(error), folders))
            return Problem(status, code, message, remedy or _REMEDIES.get(code, _REMEDY), _retry_after(error))
    return Problem(500, "internal", "the server failed at this request", _REMEDIES["internal"])


def _retry_after(error: Exception) -> float | None:
    if isinstance(error, RateError):
        return error.retry_after
    return 1.0 if isinstance(error, BusyError) else None


def hide_paths(text: str, folders: Mapping[str, Root]) -> str:
    """Return a message with the names of memories in the place of their folders, and without other folders."""
    known = {str(path): name for name, folder in folders.items() for path in (folder, folder.resolve())}
    own = (sys.prefix, sys.base_prefix, tempfile.gettempdir(), str(Path.home()), str(Path.cwd()))
    known |= {path: "…" for path in own if len(path) > 1 and path not in known}
    for path in sorted(known, key=len, reverse=True):
        text = text.replace(path, known[path])
    # Models and other files may be anywhere; their own names are enough to know them.
    return _PATH.sub(
        lambda found: f"{found['before'] or found['quote'] or ''}…/{found['name'] or found['quoted']}", text
    )


def _split(message: str) -> tuple[str, str]:
    """Return what is wrong and what to do: the last sentence, or what follows the last semicolon.

    What is quoted is not cut: a filter or a question may have either in it.
    """
    for mark in ("; ", ". "):
        what, found, remedy = message.rpartition(mark)
        if found and not what.count("'") % 2 and not what.count('"') % 2:
            return what, remedy[:1].upper() + remedy[1:]
    return message, ""
