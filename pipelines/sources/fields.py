"""JSON rows become records: which field is the key, which the title, which the text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = ("id", "_id", "key", "docid")
_TEXTS = ("text", "contents", "content", "body")
_SHOWN = 200
"""Characters of a bad row that are kept, and fields that a reason lists at most a tenth of it."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the source's fields, the first that a row has counting.

    Attributes:
        key: fields that may hold the key.
        title: fields that may hold the title.
        text: fields that may hold the text.
        title_named: whether the user named the title's field, so that a row without it is bad.
    """

    key: tuple[str, ...] = _KEYS
    title: tuple[str, ...] = ("title",)
    text: tuple[str, ...] = _TEXTS
    title_named: bool = False

    @classmethod
    def of(cls, names: Mapping[str, str], *, keys: tuple[str, ...] = _KEYS) -> Fields:
        """The user's mapping, with defaults where it says nothing.

        Args:
            names: our names (key, title, text) to the source's.
            keys: the fields that may hold the key if the user names none.

        Raises:
            SourceError: the mapping has a name that is not ours.
        """
        if unknown := sorted(set(names) - {"key", "title", "text"}):
            msg = f"source.fields.{unknown[0]} is unknown; what can be named is key, title and text"
            raise SourceError(msg)
        chosen = {ours: (theirs,) for ours, theirs in names.items()}
        return cls(**{"key": keys, **chosen}, title_named="title" in names)

    def record(self, row: dict[str, Any], *, source: str, line: int, default_key: str | None = None) -> Record:
        """Make a record of a JSON object.

        Args:
            row: the object.
            source: the file's path below the source.
            line: its line, or its place in a list.
            default_key: the key of a row that has no field for it.

        Raises:
            ValueError: a field is missing or of the wrong type; the message is the reason and the remedy.
        """
        key_field = _present(row, self.key)
        title_field = _present(row, self.title)
        text_field = _present(row, self.text)
        if key_field is None and default_key is None:
            raise _missing(row, "key", self.key)
        if text_field is None:
            raise _missing(row, "text", self.text)
        if title_field is None and self.title_named:
            raise _missing(row, "title", self.title)
        used = (key_field, title_field, text_field)
        metadata = {name: value for name, value in row.items() if name not in used}
        if not _finite(metadata):
            msg = f"a number is too large for a double (fields there: {_names(row)}); write it as a string"
            raise ValueError(msg)
        return Record(
            key=default_key or "" if key_field is None else _key(key_field, row[key_field]),
            title="" if title_field is None else _text("title", title_field, row[title_field], null=""),
            text=_text("text", text_field, row[text_field]),
            metadata=metadata,
            source=source,
            line=line,
        )


def _present(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        if name in row:
            return name
    return None


def _names(row: dict[str, Any]) -> str:
    shown = [name[:_SHOWN] for name in list(row)[: _SHOWN // 10]]
    return ", ".join(shown) + (", …" if len(row) > len(shown) else "") or "none"


def _missing(row: dict[str, Any], ours: str, names: tuple[str, ...]) -> ValueError:
    what = (
        f"the field {names[0]!r} is missing" if len(names) == 1 else f"none of the fields {', '.join(names)} is there"
    )
    return ValueError(f"{what} (fields there: {_names(row)}); name the field of the {ours} in source.fields.{ours}")


def _key(field: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    key = _text("key", field, value)
    if not key:
        msg = f"the field {field!r} is empty; give the row a key, or name another field in source.fields.key"
        raise ValueError(msg)
    return key


def _text(ours: str, field: str, value: Any, *, null: str | None = None) -> str:
    if isinstance(value, str):
        return value
    if value is None and null is not None:
        return null
    kind = "null" if value is None else type(value).__name__
    msg = f"the field {field!r} is {kind}, not a string; name the field of the {ours} in source.fields.{ours}"
    raise ValueError(msg)


def _finite(value: Any) -> bool:
    """Whether every number can be written as JSON again: 1e999 is read as infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return not isinstance(value, list) or all(map(_finite, value))


def parse_row(
    data: bytes, fields: Fields, *, source: str, line: int, default_key: str | None = None
) -> Record | BadRow:
    """Make a record of the bytes of one JSON object, or say why that cannot be done."""
    try:
        row = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        return bad_row(data, _not_json(data, error), source=source, line=line)
    if not isinstance(row, dict):
        return bad_row(data, "is not a JSON object; a row is {key, title, text}", source=source, line=line)
    try:
        return fields.record(row, source=source, line=line, default_key=default_key)
    except ValueError as error:
        return bad_row(data, str(error), source=source, line=line)


def bad_row(data: bytes, reason: str, *, source: str, line: int) -> BadRow:
    """A bad row with the beginning of what was there."""
    # A character is at most four bytes of UTF-8, and an escaped byte four characters.
    content = data[: 4 * _SHOWN].decode("utf-8", "backslashreplace")[:_SHOWN]
    return BadRow(source, line, reason, content)


def not_utf8(error: UnicodeDecodeError) -> str:
    """The reason why bytes are not text."""
    return f"is not UTF-8 (byte 0x{error.object[error.start]:02x} at byte {error.start + 1}); save the file as UTF-8"


def _not_json(data: bytes, error: ValueError) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as undecodable:
        return not_utf8(undecodable)
    # The parser counts lines inside the row, and most rows are one line.
    message = str(error).replace(" at line 1 column ", " at column ")
    if "hex escape" in message:
        return f"a \\u escape is not a character ({message}); surrogates stand in pairs, high before low"
    return f"is not JSON ({message}); a row is one JSON object"
