"""JSON rows become records: which field is the key, which the title, which the text."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.typed_fields import object_of

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("id", "_id", "key", "docid")
_PAGE = "page_content"
"""The text of LangChain's documents, whose metadata is an object."""
TEXTS = ("text", "contents", "content", "body", _PAGE)
NUMBERED = "$row"
"""What names no field: the key is the row's file and line."""
_LISTED = 20
"""Fields of a row that a reason lists, each by at most 200 characters."""


class Fields:
    """Names of a source's fields; the first that a row has counts.

    `names` are ours (key, title, text) to the source's, and every row must have these; `a.b` is the field b of the
    object a, and the key `$row` numbers the rows. An unnamed title may be missing, an unnamed key is one of `keys`.
    """

    def __init__(self, names: Mapping[str, str], *, keys: tuple[str, ...] = KEYS) -> None:
        self._named = names
        named = {ours: (theirs,) for ours, theirs in names.items()}
        self._names = {"key": keys, "title": ("title",), "text": TEXTS, **named}

    def parse(self, data: bytes, *, source: str, line: int, default_key: str | None = None) -> Record | BadRow:
        """Return the record of a JSON object, or why there is none; the default is for a row without an unnamed key."""
        try:
            row = _load(data)
        except ValueError as error:
            return BadRow.of(source, line, str(error), data)
        return self.record(row, source=source, line=line, default_key=default_key, shown=data)

    def record(
        self, row: dict[str, Any], *, source: str, line: int, default_key: str | None = None, shown: bytes | None = None
    ) -> Record | BadRow:
        """Return the record of a row as JSON has it, or why there is none; `shown` is the row as it is written."""
        try:
            values: dict[str, str] = {}
            metadata = dict(row)
            for ours, names in self._names.items():
                field = next((name for name in names if name in row), None)
                if field is not None:
                    values[ours] = _value(ours, field, row[field])
                    metadata.pop(field, None)
                elif ours == "key" and names == (NUMBERED,):
                    values[ours] = f"{source}:{line}"
                elif ours in self._named and (inner := object_of(row, names[0])) is not None:
                    values[ours] = _value(ours, names[0], inner[0][inner[1]])
                    metadata = _without(metadata, names[0])
                elif ours in self._named or ours == "text" or (ours == "key" and default_key is None):
                    lack = f"has no field {' or '.join(map(repr, names))} ({_list_fields(row)})"
                    raise ValueError(f"{lack}; name the field of the {ours} in source.fields.{ours}")
            if _PAGE in row and _PAGE not in metadata and isinstance(metadata.get("metadata"), dict):
                metadata = _unwrapped(metadata)
            if not _is_finite(metadata):
                raise ValueError(f"a number is too large for a double ({_list_fields(row)}); write it as a string")
            values = {"key": default_key or "", "title": "", **values}
            return Record(**values, metadata=metadata, source=source, line=line)
        except ValueError as error:
            written = json.dumps(row, ensure_ascii=False, default=str) if shown is None else shown
            return BadRow.of(source, line, str(error), written)


class RawRows:
    """Takes rows as they are, to see which fields they have."""

    def parse(self, data: bytes, *, source: str, line: int, default_key: str | None = None) -> Record | BadRow:
        """Return a record whose metadata is the JSON object."""
        try:
            return self.record(_load(data), source=source, line=line)
        except ValueError as error:
            return BadRow.of(source, line, str(error), data)

    def record(
        self, row: dict[str, Any], *, source: str, line: int, default_key: str | None = None, shown: bytes | None = None
    ) -> Record | BadRow:
        """Return a record whose metadata is the row."""
        return Record("", "", "", row, source, line)


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a copy of a row without a field that it has."""
    if name in row:
        return {field: value for field, value in row.items() if field != name}
    outer, _, inner = name.partition(".")
    return row | {outer: _without(row[outer], inner)}


def _unwrapped(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with the fields of its object `metadata` in place of that; those of taken names stay in it."""
    inner: dict[str, Any] = metadata["metadata"]
    rest = {name: value for name, value in metadata.items() if name != "metadata"}
    taken = {name: value for name, value in inner.items() if name in metadata}
    return rest | inner | rest | ({"metadata": taken} if taken else {})


def _value(ours: str, field: str, value: Any) -> str:
    if ours == "title" and value is None:
        return ""
    number = (int, float) if ours == "title" else int
    if ours in {"key", "title"} and isinstance(value, number) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        kind = "null" if value is None else type(value).__name__
        other = f"name the field of the {ours} in source.fields.{ours}"
        raise ValueError(f"the field {field!r} is {kind}, not a string; {other}")
    if ours == "key" and not value:
        raise ValueError(f"the field {field!r} is empty; give the row a key, or name another in source.fields.key")
    return value


def _load(data: bytes) -> dict[str, Any]:
    try:
        row = from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as undecodable:
            raise ValueError(not_utf8(undecodable)) from error
        # The parser counts lines inside the row, and most rows are one line.
        message = str(error).replace(" at line 1 column ", " at column ")
        if "hex escape" in message:
            message = f"a \\u escape is not a character ({message}); surrogates come in pairs, high before low"
            raise ValueError(message) from error
        raise ValueError(f"is not JSON ({message}); a row is one JSON object") from error
    if not isinstance(row, dict):
        raise ValueError("is not a JSON object; a row is {key, title, text}")
    return row


def not_utf8(error: UnicodeDecodeError) -> str:
    """Return the reason why bytes are not text."""
    return f"is not UTF-8 (byte 0x{error.object[error.start]:02x} at byte {error.start + 1}); save the file as UTF-8"


def _list_fields(row: dict[str, Any]) -> str:
    names = [name[:200] for name in list(row)[:_LISTED]]
    return f"its fields: {', '.join(names) + (', …' if len(row) > len(names) else '') or 'none'}"


def _is_finite(value: Any) -> bool:
    """Return whether every number can be written as JSON again: 1e999 is read as infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list) or all(map(_is_finite, value))
