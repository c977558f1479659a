"""Vectors in `.npy` files, and files of their ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mnemodex.indexers.arrays import UNREADABLE
from mnemodex.pipelines.sources.reading import file_state, read_lines, unreadable
from mnemodex.pipelines.vectors.block import Block, hash_id
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.columns import numbers, to_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Array

_BLOCK = 32 << 20
"""Bytes of vectors that are read at once."""
_LINES = 65_536
"""Ids that are read at once."""


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


def read_matrix_file(path: str, ids: str) -> Iterator[Block]:
    """Yield the rows of a `.npy` file in blocks, with the ids of another file.

    Raises:
        SourceError: a file is none of its form, or there are not as many ids as vectors.
    """
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
    column = to_column(texts, pa.string())
    bare = np.full(len(texts), -1, np.int64)
    ending = np.flatnonzero(numbers(pc.ends_with(column, "#0")))
    if len(ending):
        bare[ending] = hash_id(pc.utf8_slice_codeunits(column.take(to_column(ending, pa.int64())), 0, -2))
    return Block(path, first, hash_id(column), bare, vectors)


def _read_ids(path: str) -> Iterator[list[str]]:
    """Yield the ids of a file, some at a time: of `.npy` strings or integers, else of lines."""
    if path.endswith(".npy"):
        try:
            array = _map_npy(path)
        except (*UNREADABLE, EOFError) as error:
            problem = f"is no .npy file of ids ({error})"
            raise SourceError(f"{path}: {problem}; save an array of strings or integers, or lines of text") from error
        except OSError as error:
            raise unreadable(path, error) from error
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
