"""Arrow columns of texts and numbers, made without pandas.

`pyarrow.array`, and what calls it, imports pandas to ask whether the values are its own: 0.2 CPU seconds, more than ten
new documents cost.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def to_column(values: Any, dtype: pa.DataType) -> pa.Array:
    """Return texts or numbers, none of them missing, as an Arrow array.

    Args:
        values: strings, or numbers of any type that NumPy converts; an Arrow array is given back.
        dtype: string, or a type of numbers of whole bytes.
    """
    if isinstance(values, pa.Array):
        return values
    if pa.types.is_string(dtype):
        return _texts(values)
    numbers = np.ascontiguousarray(values, dtype.to_pandas_dtype())
    return pa.Array.from_buffers(dtype, len(numbers), [None, pa.py_buffer(numbers)])


def to_nullable(values: Sequence[Any], dtype: pa.DataType) -> pa.Array:
    """Return values, some of them None, as an Arrow array.

    Args:
        values: of the Python type that `dtype` has.
        dtype: bool, int64, float64, string, date32, timestamp, or a list of one of these.
    """
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    present = pa.py_buffer(np.packbits(valid, bitorder="little"))
    if pa.types.is_list(dtype):
        lists = [value or () for value in values]
        offsets = np.fromiter(accumulate(map(len, lists), initial=0), np.int32, len(lists) + 1)
        items = to_nullable([item for value in lists for item in value], dtype.value_type)
        return pa.Array.from_buffers(dtype, len(values), [present, pa.py_buffer(offsets)], children=[items])
    if pa.types.is_string(dtype):
        buffers = _texts([value or "" for value in values]).buffers()
        return pa.Array.from_buffers(dtype, len(values), [present, *buffers[1:]])
    filled: Any = [0 if value is None else value for value in values]
    if pa.types.is_boolean(dtype):
        numbers = np.packbits(np.array(filled, bool), bitorder="little")
    elif pa.types.is_temporal(dtype):
        # NumPy counts both in 64 bits, Arrow dates in 32.
        unit = "us" if pa.types.is_timestamp(dtype) else "D"
        counts = np.array([value or "1970-01-01" for value in values], f"datetime64[{unit}]").view(np.int64)
        numbers = counts.astype(np.int64 if unit == "us" else np.int32)
    else:
        numbers = np.array(filled, dtype.to_pandas_dtype())
    return pa.Array.from_buffers(dtype, len(values), [present, pa.py_buffer(numbers)])


def to_table(columns: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Return columns, each as `to_column` takes it, as a table of one batch."""
    return pa.Table.from_batches([to_batch(columns, schema)])


def to_batch(columns: Iterable[Any], schema: pa.Schema) -> pa.RecordBatch:
    """Return columns, each as `to_column` takes it, as a record batch."""
    arrays = [to_column(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _texts(values: Sequence[str]) -> pa.StringArray:
    encoded = [value.encode() for value in values]
    # More bytes than an array of strings can hold are an OverflowError here.
    offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int32, len(encoded) + 1)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def spelling(texts: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the UTF-8 of texts, one after the other, and where each begins and the last ends."""
    _, offsets, letters = texts.buffers()
    places = np.frombuffer(offsets, np.int32)[texts.offset :][: len(texts) + 1].astype(np.int64)
    return np.frombuffer(letters or b"", np.uint8)[places[0] : places[-1]], places - places[0]


def numbers(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column as a NumPy array: without pandas where it has numbers and none is missing."""
    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values
    dtype = column.type.to_pandas_dtype()
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    # An empty array may have no buffer.
    parts = [np.frombuffer(chunk.buffers()[1] or b"", dtype)[chunk.offset :][: len(chunk)] for chunk in chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])
