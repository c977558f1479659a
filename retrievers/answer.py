"""The answer to a SQL statement: all its rows, fetched."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


class Answer:
    """The rows of a statement that has run to its end; what can fail or take long has been done."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        """The columns' names, each once: a second `a` is `a_1`."""
        return list(self._table.column_names)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        shown = f" of {len(self)}" if len(self) > 20 else ""
        return f"{self._table.slice(0, 20).to_pandas()}\n[{min(len(self), 20)}{shown} rows]"

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples of Python values."""
        return list(zip(*map(_values, self._table.columns), strict=True))

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row; None where there is none."""
        first = Answer(self._table.slice(0, 1)).fetchall()
        return first[0] if first else None

    def to_arrow_table(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        return self._table

    def to_df(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame."""
        return self._table.to_pandas()

    def to_json(self) -> dict[str, Any]:
        """Return what `sql --json` prints: columns and rows, where ids, dates and very large numbers are strings."""
        values = [
            [_plain(value, name) for value in column.to_pylist()]
            for name, column in zip(self._table.column_names, self._table.columns, strict=True)
        ]
        return {"columns": self.columns, "rows": list(map(list, zip(*values, strict=True)))}

    arrow = to_arrow_table
    df = to_df


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(column.type) and column.type.precision == 38 and column.type.scale == 0:
        # What DuckDB's sum of integers is in Arrow.
        return [None if value is None else int(value) for value in values]
    return values


def _plain(value: Any, column: str = "") -> Any:
    """Return a value for JSON: ids and what a JavaScript number does not hold are strings; dates and the like too."""
    if isinstance(value, Decimal):
        # What DuckDB's sum of integers is.
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int) and not isinstance(value, bool) and (column.endswith("_id") or abs(value) > 2**53):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, column) for item in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
