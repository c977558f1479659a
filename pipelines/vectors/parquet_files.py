"""Vectors in Parquet files, with their ids in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mnemodex.pipelines.vectors.block import Block, Header, hash_id, hash_place
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.columns import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Array, Int64s
    from mnemodex.pipelines.vectors.block import IdForm
    from mnemodex.schemas.vector_sections import VectorFile


def read_header(path: str, settings: VectorFile) -> Header:
    """Return what the header of a file says; a `SourceError` says that columns are missing or of another type."""
    with pq.ParquetFile(path) as file:
        *ids, vector = _columns(path, file.schema_arrow.names, settings)
        column = file.schema_arrow.field(vector).type
        lists = pa.types.is_list(column) or pa.types.is_large_list(column) or pa.types.is_fixed_size_list(column)
        if not lists or not pa.types.is_floating(column.value_type):
            raise SourceError(
                f"{path}: the column {settings.column('vector')!r} is of type {column}; give lists of float16, "
                "float32 or float64"
            )
        size = column.list_size if pa.types.is_fixed_size_list(column) else 0
        return Header(file.metadata.num_rows, size, _form_of(ids, settings))


def _form_of(ids: Sequence[str], settings: VectorFile) -> IdForm:
    if len(ids) > 1:
        return "place"
    return "chunk_id" if ids == [settings.column("chunk_id")] else "text"


def _columns(path: str, names: list[str], settings: VectorFile) -> list[str]:
    """Return the columns that are read: those of ids, and last the vectors."""
    chunk_id, key, ordinal, vector = map(settings.column, ("chunk_id", "key", "ordinal", "vector"))
    ids = [chunk_id] if chunk_id in names else [key, *([ordinal] if ordinal in names else [])]
    missing = [name for name in (*ids, vector, *settings.fields.values()) if name not in names]
    if missing:
        raise SourceError(
            f"{path}: has no column {missing[0]!r}, but {', '.join(names)}; name its columns in `fields` of the "
            "embedding: {key: …, vector: …}, and {ordinal: …} where documents have several chunks"
        )
    return [*ids, vector]


def read_parquet_file(path: str, settings: VectorFile) -> Iterator[Block]:
    """Yield the rows of a file in blocks; a `SourceError` says which row has no id, no vector, or another vector."""
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        names = _columns(path, file.schema_arrow.names, settings)
        start, rows = 0, 1024
        for batch in file.iter_batches(rows, columns=names, use_threads=False):
            for name in names:
                if batch[name].null_count:
                    first = start + int(np.argmin(batch[name].is_valid().to_numpy(zero_copy_only=False)))
                    raise SourceError(f"{path}: row {first + 1} has no value of {name!r}; write one, or leave it out")
            ids = _hash_columns(path, batch, names[:-1], settings)
            vectors = _lists(path, start, batch[names[-1]])
            yield Block(path, start, ids, np.full(len(ids), -1, np.int64), vectors)
            start += batch.num_rows


def _hash_columns(path: str, batch: pa.RecordBatch, names: list[str], settings: VectorFile) -> Int64s:
    """Return the chunks' ids, or the hashes of what names chunks."""
    columns = [batch[name] for name in names]
    for name, column in zip(names, columns, strict=True):
        kind = column.type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
        if not (pa.types.is_integer(kind) or (text and name == settings.column("key"))):
            raise SourceError(f"{path}: the column {name!r} is of type {kind}; give integers, or strings as keys")
    form = _form_of(names, settings)
    if form == "chunk_id":
        ids: Int64s = numbers(columns[0].cast(pa.int64()))
        return ids
    keys = columns[0].cast(pa.string())
    return hash_place(keys, numbers(columns[1].cast(pa.int64()))) if form == "place" else hash_id(keys)


def _lists(path: str, start: int, column: Any) -> Array:
    """Return lists as a matrix; those of different lengths are a `SourceError`."""
    if not pa.types.is_fixed_size_list(column.type):
        lengths = numbers(pc.list_value_length(column))
        if len(lengths) and (lengths != lengths[0]).any():
            row = int(np.argmax(lengths != lengths[0]))
            raise SourceError(
                f"{path}: row {start + row + 1} has a vector of {lengths[row]} numbers, and row {start + 1} one of "
                f"{lengths[0]}; give the vectors of one model"
            )
    values = column.flatten()
    if values.null_count:
        raise SourceError(f"{path}: a vector after row {start} lacks a number; write all of them")
    matrix: Array = numbers(values).reshape(len(column), -1)
    if len(matrix) and not matrix.shape[1]:
        raise SourceError(f"{path}: row {start + 1} has a vector of no numbers; write the vectors again")
    return matrix
