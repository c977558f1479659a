"""Server-sent events of OpenAI's protocol: a JSON object each, read at once or as they come."""

from __future__ import annotations

import contextlib
import json
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_DONE = "[DONE]"
"""The last event of a stream."""


class Events:
    """Events that are read from the parts in which their bytes come.

    Args:
        watch: is called with the JSON of each.
    """

    def __init__(self, watch: Callable[[dict[str, Any]], None]) -> None:
        self._watch = watch
        self._line = b""

    def take(self, part: bytes) -> None:
        """Read the lines that end in a part; what is no event of an object is left out."""
        *lines, self._line = (self._line + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                with contextlib.suppress(ValueError):
                    event = json.loads(line[5:])
                    if isinstance(event, dict):
                        self._watch(event)


WATCHED: ContextVar[Events | None] = ContextVar("watched", default=None)
"""Who sees the answer to a request as it comes: a request runs in the context of whoever asks."""


def read_events(text: str) -> list[Any] | None:
    """Return the JSON of all events of a text; None where it is no stream of events.

    Raises:
        ValueError: an event is not JSON.
    """
    events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    if not events or text.lstrip().startswith(("{", "[")):
        return None
    return [json.loads(event) for event in events if event and event != _DONE]
