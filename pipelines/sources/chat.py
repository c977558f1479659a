"""Chat logs: messages, one a line, or whole conversations, become documents that know who said them and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.fields import RawRows
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.sources.base import Piece
    from mnemodex.pipelines.sources.packing import Packing
    from mnemodex.schemas.store.object_url import Root

_NAMES = {
    "conversation": ("conversation", "conversation_id", "chat_id", "thread_id", "dialogue_id"),
    "session": ("session", "session_id"),
    "turn": ("turn", "turn_id", "turn_index", "id", "message_id"),
    "role": ("role", "speaker", "author", "sender", "from"),
    "time": ("time", "timestamp", "created_at", "create_time", "date", "ts"),
    "text": ("text", "content", "message", "value", "utterance"),
    "title": ("title",),
}
_MESSAGES = ("messages", "conversations", "turns")
_MILLISECONDS = 1e11
"""Seconds of the year 5138: numbers from there on are milliseconds."""


class ChatSource(JsonlSource):
    """Lines of JSON, each a message, or a conversation with a list `messages`.

    The key is conversation, session and turn, with slashes; a message without a turn or an id has the number of its
    line, or its place in the list from 1. `conversation`, `session`, `turn`, `role` and `time` are in the metadata by
    these names, whatever they are called in the log.
    """

    has_rows = False

    def __init__(self, root: Root, paths: Sequence[str], *, fields: Mapping[str, str], packing: Packing) -> None:
        super().__init__(root, paths, fields={}, packing=packing)
        if fields:
            raise SourceError("source.fields: the fields of a chat log are known by their names; remove source.fields")
        self._fields = RawRows()

    @override
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        for row in super()._parse(piece, data):
            if isinstance(row, BadRow):
                yield row
                continue
            given = row.metadata
            name = next((name for name in _MESSAGES if isinstance(given.get(name), list)), None)
            if name is None:
                yield _message(given, row, number=row.line)
                continue
            # What a message says of itself, a conversation does not say for it.
            own = {name, *_NAMES["turn"], *_NAMES["role"], *_NAMES["text"]}
            outer = {key: value for key, value in given.items() if key not in own}
            if "id" in given and not any(key in outer for key in _NAMES["conversation"]):
                outer["conversation"] = given["id"]
            for number, message in enumerate(given[name], 1):
                if isinstance(message, dict):
                    yield _message(outer | message, row, number=number)
                else:
                    yield BadRow.of(row.source, row.line, f"message {number} is no object; {_REMEDY}", str(message))


_REMEDY = 'a message is {"conversation", "session", "role", "time", "text"}'


def is_chat(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether rows are messages of conversations, or conversations."""

    def has(row: Any, *names: str) -> bool:
        return isinstance(row, dict) and all(any(known in row for known in _NAMES[name]) for name in names)

    def lists(row: Mapping[str, Any]) -> list[Any]:
        return [row[name] for name in _MESSAGES if isinstance(row.get(name), list)]

    return bool(rows) and all(
        (has(row, "role", "text") and (has(row, "conversation") or has(row, "session")))
        or any(found and all(has(message, "role", "text") for message in found) for found in lists(row))
        for row in rows
    )


def _message(row: dict[str, Any], at: Record, *, number: int) -> Record | BadRow:
    """Return a message as a record, or why it is none."""
    names = {ours: next((name for name in known if name in row), None) for ours, known in _NAMES.items()}
    values = {ours: row[name] for ours, name in names.items() if name is not None}
    metadata = {name: value for name, value in row.items() if name not in names.values()}
    # A message that only calls a tool says nothing.
    text = "" if names["text"] is not None and values["text"] is None else _text_of(values.get("text"))
    if text is None:
        return BadRow.of(at.source, at.line, f"has a message without a text; {_REMEDY}", str(row))
    turn = values.get("turn")
    places = [values.get("conversation", at.source), values.get("session"), number if turn is None else turn]
    if not all(each is None or isinstance(each, str | int) for each in places):
        return BadRow.of(
            at.source, at.line, f"has a conversation, session or turn that is no text; {_REMEDY}", str(row)
        )
    said = {name: values[name] for name in ("conversation", "session") if values.get(name) is not None}
    metadata |= {name: str(value) for name, value in said.items()}
    metadata["turn"] = places[2]
    if values.get("role") is not None:
        metadata["role"] = values["role"]
    if (time := values.get("time")) is not None:
        metadata["time"] = _time_of(time)
    title = values.get("title")
    key = "/".join(str(each) for each in places if each is not None)
    return Record(key, title if isinstance(title, str) else "", text, metadata, at.source, at.line)


def _text_of(content: Any) -> str | None:
    """Return the text of a message, which may be in parts; None for no text."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else None


def _time_of(time: Any) -> Any:
    """Return a time as text where it is a number of seconds or milliseconds since 1970, else as it is."""
    if isinstance(time, bool) or not isinstance(time, int | float):
        return time
    try:
        seconds = time / 1000 if abs(time) >= _MILLISECONDS else time
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return time
