"""Which fields of JSON rows are the key, the title and the text: guessed from the first rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mnemodex.pipelines.sources.fields import KEYS, NUMBERED, TEXTS
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_KEYS = (*KEYS, "doc_id", "uuid", "uid", "pid", "url")
_TITLES = ("title", "name", "headline", "heading", "subject")
_LISTED = 20


@dataclass(frozen=True)
class Mapping:
    """Our fields (key, title, text) by the rows' own.

    Attributes:
        fields: ours to theirs.
        columns: the values of each field that are not null, by its name; `a.b` is the field b of the object a.
    """

    fields: dict[str, str]
    columns: dict[str, list[Any]]

    @classmethod
    def guess(cls, rows: Sequence[dict[str, Any]], named: dict[str, str]) -> Self:
        """Guess the fields that are not named.

        The text is the field of a usual name, else the one of the longest strings. A key is unique among the rows;
        where none is, the rows are numbered. A `SourceError` says that there is no text, or no named field.
        """
        columns: defaultdict[str, list[Any]] = defaultdict(list)
        for row in rows:
            for name, value in leaves(row):
                columns[name].append(value)
        fields = dict(named)
        for theirs in named.values():
            if theirs not in (*columns, NUMBERED):
                raise SourceError(f"no row among its first {len(rows)} has a field {theirs!r} ({_list(columns)})")

        def choose(ours: str, names: Sequence[str], fits: Callable[[Sequence[Any]], bool]) -> list[str]:
            """Take the field that has a usual name; return all that could be it."""
            full = [name for name, values in columns.items() if len(values) == len(rows) and fits(values)]
            free = [name for name in full if name not in fields.values()]
            usual = next(_usual(free, names), None)
            if usual is not None:
                fields.setdefault(ours, usual)
            return free

        texts = choose("text", TEXTS, _are_texts)
        if "text" not in fields:
            if not texts:
                raise SourceError(f"no field of its first {len(rows)} rows is a text ({_list(columns)})")
            fields["text"] = max(texts, key=lambda name: sum(map(len, columns[name])))
        choose("key", _KEYS, _are_keys)
        fields.setdefault("key", NUMBERED)
        choose("title", _TITLES, _are_texts)
        return cls(fields, dict(columns))

    def needed(self) -> dict[str, str]:
        """Return the fields that a source would not find itself."""
        usual = {"key": KEYS, "title": ("title",), "text": TEXTS}
        found = {ours: next((name for name in names if name in self.columns), "") for ours, names in usual.items()}
        return {ours: self.fields[ours] for ours in usual if self.fields.get(ours, found[ours]) != found[ours]}

    def describe(self) -> list[str]:
        """Return what people read of it, in lines."""
        given = {ours: self.fields.get(ours, "none") for ours in ("key", "title", "text")}
        if given["key"] == NUMBERED:
            given["key"] = "none is unique, so rows are numbered (file:line)"
        rest = [name for name in self.columns if name not in self.fields.values()]
        taken = "; ".join(f"{ours}: {theirs}" for ours, theirs in given.items())
        return [_list(self.columns), f"{taken}; metadata: {', '.join(rest[:_LISTED]) or 'none'}"]


def _list(columns: Collection[str]) -> str:
    names = list(columns)
    return f"its fields: {', '.join(names[:_LISTED]) + (', …' if len(names) > _LISTED else '') or 'none'}"


def leaves(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a row that are not null, those of objects by a dotted name."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield prefix + name, value


def _usual(fields: Sequence[str], names: Sequence[str]) -> Iterator[str]:
    """Yield the fields of usual names, in the order of these, the fields of objects last."""
    for deep in (False, True):
        for name in names:
            yield from (field for field in fields if (field.rpartition(".")[2] if deep else field).lower() == name)


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _are_keys(values: Sequence[Any]) -> bool:
    fit = all(isinstance(x, (int, str)) and x is not True and x is not False and x != "" for x in values)
    return fit and len(set(map(str, values))) == len(values)
