"""Values of Arrow and of YAML as JSON has them: text, numbers, lists and objects; dates and decimals are text."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def python_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch; a number that JSON does not have is null, and bytes that are no UTF-8 stay bytes."""
    columns = [_to_values(column) for column in batch.columns]
    names = batch.schema.names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _to_values(column: pa.Array) -> list[Any]:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _to_values(column.storage)
    if pa.types.is_dictionary(kind):
        return _to_values(column.dictionary_decode())
    if pa.types.is_floating(kind):
        doubles = column.cast(pa.float64())
        numbers: list[Any] = pc.if_else(pc.is_finite(doubles), doubles, None).to_pylist()
        return numbers
    if pa.types.is_temporal(kind) and not (pa.types.is_duration(kind) or pa.types.is_interval(kind)):
        texts: list[Any] = column.cast(pa.string()).to_pylist()
        return texts
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        # Writers put other bytes there too, which Arrow looks at only when they are read.
        return list(map(to_json, column.cast(pa.large_binary()).to_pylist()))
    values: list[Any] = column.to_pylist()
    return values if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else list(map(to_json, values))


def to_json(value: Any) -> Any:
    """Return a value of any type as JSON has it, at the top bytes that are no UTF-8 as they are."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, dict):
        return {str(name): _inner(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_inner(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _inner(value: Any) -> Any:
    found = to_json(value)
    return None if isinstance(found, bytes) else found
