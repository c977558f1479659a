"""Files of vectors that were made elsewhere: found, looked at, and read in blocks with the ids of their rows."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mnemodex.indexers.arrays import UNREADABLE
from mnemodex.pipelines.sources.found import find_files
from mnemodex.pipelines.sources.reading import file_state, read_lines, unreadable
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_columns, hash_strings
from mnemodex.schemas.store.columns import numbers, spelling, to_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Array, Int64s
    from mnemodex.schemas.vector_sections import VectorFile

_BLOCK = 32 << 20
"""Bytes of vectors that are read at once."""
_LINES = 65_536
"""Ids that are read at once."""


class Block(NamedTuple):
    """Some rows of a file: their ids as `hash_id` makes them, int64; their vectors, of shape (rows, dimension).

    `bare` has, of ids that end in `#0`, the hash without that ending; -1 of others.
    """

    path: str
    first: int
    ids: Int64s
    bare: Int64s
    vectors: Array


class Shape(NamedTuple):
    """Rows of a file, and numbers of a vector; 0 where only reading it tells."""

    rows: int
    dimension: int


def hash_id(texts: pa.StringArray) -> Int64s:
    """Hash ids to int64, not negative; texts of any number."""
    return (hash_strings(*spelling(texts)) & np.uint64((1 << 63) - 1)).astype(np.int64)


def hash_place(keys: pa.StringArray, ordinals: Int64s) -> Int64s:
    """Hash the key of a document and the number of a chunk in it to int64, not negative."""
    return hash_columns([hash_id(keys), ordinals])


def vector_files(settings: VectorFile) -> list[tuple[str, str | None]]:
    """Return the files of vectors in their order, each with its file of ids; Parquet has none.

    Raises:
        SourceError: a path is of nothing, or there are not as many files of ids as of vectors.
    """
    paths = _found(settings.path, "from")
    if settings.ids is None:
        return [(path, None) for path in paths]
    ids = _found(settings.ids, "ids")
    if len(ids) != len(paths):
        raise SourceError(
            f"{settings.path[0]}: `from` names {len(paths)} files and `ids` {len(ids)}; give a file of ids for each "
            "file of vectors, in the same order"
        )
    return list(zip(paths, ids, strict=True))


def _found(paths: tuple[str, ...], key: str) -> list[str]:
    files = []
    for path in paths:
        try:
            found = find_files(path)
        except SourceError as error:
            raise SourceError(str(error).replace("source.path", f"`{key}` of the embedding")) from error
        files += [f"{found.root}/{name}" for name in found.files]
    return files


def look_at(settings: VectorFile) -> list[Shape]:
    """Return what the headers of the files say.

    Raises:
        SourceError: a file is missing, empty or no vectors, or two have vectors of different dimensions.
    """
    shapes: list[Shape] = []
    named: dict[int, str] = {}
    for path, ids in vector_files(settings):
        if ids is not None:
            file_state(ids)
        with _reading(path):
            shape = Shape(*map_matrix(path).shape) if ids is not None else _parquet_shape(path, settings)
        shapes.append(shape)
        if shape.dimension:
            named.setdefault(shape.dimension, path)
    if len(named) > 1:
        (one, first), (other, second) = list(named.items())[:2]
        raise SourceError(
            f"{second}: its vectors have {other} dimensions, but those of {first} have {one}; give the vectors of one "
            "model, and those of another as an embedding of its own"
        )
    if not sum(shape.rows for shape in shapes):
        raise SourceError(f"{settings.path[0]}: has no vectors; write them again")
    return shapes


def read_vectors(settings: VectorFile) -> Iterator[Block]:
    """Yield the rows of all files in their order, in blocks.

    Raises:
        SourceError: a file cannot be read, ids are missing or too many, a row has no vector.
    """
    for path, ids in vector_files(settings):
        with _reading(path):
            yield from _read_matrix(path, ids) if ids is not None else _read_parquet(path, settings)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Say of what NumPy and Arrow raise which file it is about."""
    try:
        yield
    except SourceError:
        raise
    except pa.ArrowException as error:
        raise SourceError(f"{path}: is no Parquet file, or a damaged one ({error}); write it again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def map_matrix(path: str) -> Array:
    """Map a `.npy` file of vectors; another one is a `SourceError`."""
    if file_state(path)[0] == 0:
        raise SourceError(f"{path}: the file is empty; write the vectors again, as numpy.save does")
    try:
        matrix = _map_npy(path)
    except (*UNREADABLE, EOFError) as error:
        if "Python objects" in str(error) or "allow_pickle" in str(error):
            problem = "holds Python objects or is no .npy file, and is not read for safety"
            raise SourceError(f"{path}: {problem}; save a matrix of float32: np.save(path, vectors)") from error
        raise SourceError(f"{path}: is no .npy file, or a damaged one ({error}); write it again") from error
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise SourceError(f"{path}: has the shape {matrix.shape}; give a matrix of shape (rows, dimension)")
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize > 8:
        raise SourceError(f"{path}: holds numbers of type {matrix.dtype}; give float16, float32 or float64")
    return matrix


def _map_npy(path: str) -> Array:
    """Map an array; NumPy raises various errors for a file that is none."""
    array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it is an archive of arrays, as numpy.savez writes it")
    return array


def _read_matrix(path: str, ids: str) -> Iterator[Block]:
    matrix = map_matrix(path)
    step = max(1, _BLOCK // (matrix.dtype.itemsize * matrix.shape[1]))
    start = 0
    waiting: list[str] = []
    for texts in _read_ids(ids):
        waiting += texts
        if start + len(waiting) > len(matrix):
            break
        while len(waiting) >= step:
            yield _block(path, start, waiting[:step], matrix[start : start + step])
            del waiting[:step]
            start += step
    count = start + len(waiting)
    if count != len(matrix):
        counted = f"more than {len(matrix)}" if count > len(matrix) else str(count)
        raise SourceError(
            f"{path}: has {len(matrix)} vectors, but {ids} has {counted} ids; write one id for each vector, in their "
            "order"
        )
    if waiting:
        yield _block(path, start, waiting, matrix[start:])


def _block(path: str, first: int, texts: list[str], vectors: Array) -> Block:
    ids = hash_id(to_column(texts, pa.string()))
    bare = np.full(len(texts), -1, np.int64)
    ending = np.array([number for number, text in enumerate(texts) if text.endswith("#0")], np.int64)
    if len(ending):
        bare[ending] = hash_id(to_column([texts[number][:-2] for number in ending.tolist()], pa.string()))
    return Block(path, first, ids, bare, vectors)


def _read_ids(path: str) -> Iterator[list[str]]:
    """Yield the ids of a file, some at a time: of `.npy` strings or integers, else of lines."""
    if path.endswith(".npy"):
        with _reading(path):
            try:
                array = _map_npy(path)
            except (*UNREADABLE, EOFError) as error:
                problem = f"is no .npy file of ids ({error})"
                raise SourceError(
                    f"{path}: {problem}; save an array of strings or integers, or lines of text"
                ) from error
        if array.ndim != 1 or array.dtype.kind not in "iuU":
            what = f"{array.dtype} of shape {array.shape}"
            raise SourceError(f"{path}: ids are {what}; give strings or integers of shape (rows,)")
        for start in range(0, len(array), _LINES):
            yield [str(value) for value in array[start : start + _LINES].tolist()]
        return
    texts: list[str] = []
    last = None
    for number, line in enumerate(read_lines(Path(path)), 1):
        # The end of the last line begins no other one.
        if last is not None:
            texts.append(_id_of(last, path, number - 1))
        last = line
        if len(texts) >= _LINES:
            yield texts
            texts = []
    if last:
        texts.append(_id_of(last, path, number))
    yield texts


def _id_of(line: bytes, path: str, number: int) -> str:
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: line {number} is not UTF-8; write the ids as UTF-8") from error
    if not text:
        raise SourceError(f"{path}: line {number} is empty; write an id for each vector")
    return text


def _parquet_shape(path: str, settings: VectorFile) -> Shape:
    with pq.ParquetFile(path) as file:
        column = file.schema_arrow.field(_columns(path, file.schema_arrow.names, settings)[-1]).type
        lists = pa.types.is_list(column) or pa.types.is_large_list(column) or pa.types.is_fixed_size_list(column)
        if not lists or not pa.types.is_floating(column.value_type):
            raise SourceError(
                f"{path}: the column {settings.column('vector')!r} is of type {column}; give lists of float16, "
                "float32 or float64"
            )
        size = column.list_size if pa.types.is_fixed_size_list(column) else 0
        return Shape(file.metadata.num_rows, size)


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


def _read_parquet(path: str, settings: VectorFile) -> Iterator[Block]:
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
    if names == [settings.column("chunk_id")]:
        ids: Int64s = numbers(columns[0].cast(pa.int64()))
        return ids
    keys = columns[0].cast(pa.string())
    return hash_place(keys, numbers(columns[1].cast(pa.int64()))) if len(columns) == 2 else hash_id(keys)


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
