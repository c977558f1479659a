"""Fields of documents' metadata as typed columns: their types, and the names that they may have."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import pyarrow as pa

from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mnemodex.schemas.tables import TableSpec

_SCALARS: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
TYPES = _SCALARS | {f"list<{name}>": pa.list_(dtype) for name, dtype in _SCALARS.items()}
"""Arrow types by the names that recipes use; timestamps are naive UTC."""

TIME_TYPES = ("timestamp", "date")
"""Names of types that hold times."""

MOST_FIELDS = 1000
"""Columns of metadata that a recipe may declare."""

_LONGEST = 100
_TAKEN = frozenset({*spec_of(DOCUMENTS).schema.names, *spec_of(CHUNKS).schema.names, "query", "rank", "score"})
"""Columns of documents, of chunks, which a `where` reads by the same names, and of hits."""


def name_problem(name: str, others: Collection[str]) -> str:
    """Return why a field cannot be a column next to others, whose names are in lower case; empty if it can."""
    if name.lower() in _TAKEN:
        return "documents, chunks or hits have a column of this name"
    if name.lower() in others:
        return "another field has this name, and SQL does not distinguish upper and lower case"
    if not name or len(name) > _LONGEST or not name.isprintable():
        return f"a column's name has 1 to {_LONGEST} printable characters"
    return ""


def documents_spec(fields: Mapping[str, str]) -> TableSpec:
    """Return what the rows of documents are, with columns of the types that are named."""
    return spec_of(DOCUMENTS).extended({name: TYPES[kind] for name, kind in fields.items()})


def check_fields(fields: Mapping[str, str]) -> None:
    """Refuse names that cannot be columns, and unknown types.

    Raises:
        ValueError: names the field and the remedy.
    """
    if len(fields) > MOST_FIELDS:
        raise ValueError(f"{len(fields)} fields are declared, and there may be {MOST_FIELDS}; remove some")
    seen: set[str] = set()
    for name, type_name in fields.items():
        if problem := name_problem(name, seen):
            raise ValueError(f"field {name[:_LONGEST]!r}: {problem}; remove it and read it as metadata->>'NAME'")
        seen.add(name.lower())
        if type_name not in TYPES:
            near = difflib.get_close_matches(type_name, TYPES, n=1)
            known = f"the types are {', '.join(_SCALARS)}, and lists of these: list<string>"
            hint = f"did you mean {near[0]!r}?" if near else known
            raise ValueError(f"field {name!r}: unknown type {type_name[:_LONGEST]!r}; {hint}")
