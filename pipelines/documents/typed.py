"""Types of metadata's columns, inferred from the first rows of a source."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.documents.splits import read_split
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.metadata import name_problem
from mnemodex.schemas.tables import DOCUMENTS
from mnemodex.schemas.typed_fields import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.steps import SourceUnit
    from mnemodex.schemas.store.store import Store

_ROWS, _SPLITS = 1000, 16
"""Rows and splits of a source that are looked at: long rows are few a split."""
_MOST = 100
"""Columns that are inferred."""
_LONGEST = 1000
"""Characters of a value from which on a field is running text, which needs no second copy."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?P<time>[T ]\d\d:\d\d.*)?")
_INT64 = 1 << 63


def inferred_columns(
    store: Store, recipe: Recipe, units: Sequence[SourceUnit], former: Manifest | None
) -> tuple[dict[str, str], list[str]]:
    """Return the types of columns of the metadata where the recipe declares none, and warnings.

    They are those that the current snapshot has inferred, and of further fields those that the first rows of the source
    show. So no column changes its type when the source grows.

    Args:
        store: of the memory.
        recipe: of the build.
        units: the splits of its source.
        former: the current snapshot.

    Raises:
        SourceError: the source cannot be read.
    """
    if getattr(recipe.source, "metadata", None) is not None:
        return {}, []
    kept: dict[str, str] = {}
    if former is not None and DOCUMENTS.label in former.tables and former.recipe["source"].get("metadata") is None:
        kept = former.tables[DOCUMENTS.label].fields
    source = open_source(recipe.source)
    splits = (read_split(store, unit.data, unit.label) for unit in units[:_SPLITS])
    rows = (row.metadata for split in splits for row in source.read(split) if isinstance(row, Record))
    types, left = infer_types(rows, kept=kept)
    if not left:
        return types, []
    listed = ", ".join(f"{name[:40]!r} ({why})" for name, why in list(left.items())[:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return types, [f"fields of the metadata that get no column: {listed}{more}; read them as metadata->>'NAME'"]


def infer_types(
    rows: Iterable[Mapping[str, Any]], *, kept: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Infer the types of fields from the first rows, in the order in which the fields come.

    Args:
        rows: metadata, of which the first are read.
        kept: types that are known.

    Returns:
        The names of the types by those of the fields, and why other fields cannot be columns; running text gets none
        without a word.
    """
    columns: defaultdict[str, list[Any]] = defaultdict(list)
    for row in islice(rows, _ROWS):
        for name, value in row.items():
            if value is not None:
                columns[name].append(value)
    types, left = dict(kept or {}), dict[str, str]()
    seen = {name.lower() for name in types}
    for name, values in columns.items():
        if name in types:
            continue
        kind = _infer(values)
        if kind is None:
            if why := _without_type(values):
                left[name] = why
        elif why := name_problem(name, seen) or ("" if len(types) < _MOST else f"the first {_MOST} get one"):
            left[name] = why
        else:
            types[name] = kind
            seen.add(name.lower())
    return types, left


def _infer(values: Sequence[Any]) -> str | None:
    """Return the type of all values, none of them None; None where there is no such type."""
    if all(isinstance(value, list) for value in values):
        items = [item for value in values for item in value if item is not None]
        inner = _infer(items) if items else "string"
        return None if inner is None or inner.startswith("list") else f"list<{inner}>"
    kinds = set(map(type, values))
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        # Larger ones are names rather than quantities.
        return "int" if all(-_INT64 <= value < _INT64 for value in values) else "string"
    if kinds <= {int, float}:
        return "float"
    if not kinds <= {int, float, str} or any(isinstance(value, str) and len(value) > _LONGEST for value in values):
        return None
    dates = [_DATE.fullmatch(value) if isinstance(value, str) else None for value in values]
    kind = "timestamp" if any(date and date["time"] for date in dates) else "date"
    return kind if all(dates) and fits(values, kind) else "string"


def _without_type(values: Sequence[Any]) -> str:
    """Return why values have no type; empty for running text."""
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    kinds = {type(item) for item in items if item is not None}
    if dict in kinds:
        return "objects, whose fields source.metadata can name as `a.b`"
    return "" if kinds == {str} else "values of several types, or lists in lists"
