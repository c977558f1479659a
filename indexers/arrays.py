"""Arrays: short names of their types, ids in them; and the files of arrays and of Arrow tables that are mapped."""

from __future__ import annotations

from tokenize import TokenError
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mnemodex.schemas.errors import CorruptFileError

if TYPE_CHECKING:
    from pathlib import Path

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Bools: TypeAlias = NDArray[np.bool_]
Uint8s: TypeAlias = NDArray[np.uint8]
Uint32s: TypeAlias = NDArray[np.uint32]
Uint64s: TypeAlias = NDArray[np.uint64]
Int16s: TypeAlias = NDArray[np.int16]
Int32s: TypeAlias = NDArray[np.int32]
Int64s: TypeAlias = NDArray[np.int64]
Float16s: TypeAlias = NDArray[np.float16]
Float32s: TypeAlias = NDArray[np.float32]
Float64s: TypeAlias = NDArray[np.float64]


UNREADABLE = (ValueError, TypeError, ArithmeticError, LookupError, MemoryError, SyntaxError, TokenError)
"""What NumPy raises for a file that is no array; it reads a header as words of Python."""


def find_ids(ids: Int64s, wanted: Int64s) -> Int64s:
    """Return the position of each wanted id among ids in any order; of one that is not there, any position."""
    order = np.argsort(ids)
    return order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]


def are_among(ids: Int64s, wanted: Int64s) -> Bools:
    """Return which ids, of any shape, are among the wanted ones, which are ascending."""
    if not len(wanted):
        return np.zeros(ids.shape, np.bool_)
    found: Bools = wanted[np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)] == ids
    return found


def begins(*columns: Int64s) -> Int64s:
    """Return where rows begin that differ from the row before them, in columns of shape (rows,)."""
    changes = np.ones(len(columns[0]), np.bool_)
    if len(changes):
        changes[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.flatnonzero(changes)


def frozen(array: Array) -> Array:
    """Return a view that cannot be written to, so that kernels meet one type of array, mapped or not."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def save_arrays(folder: Path, **arrays: Array) -> None:
    """Write each array as `NAME.npy` into a folder."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def open_arrays(folder: Path, **types: type[Any]) -> list[Array]:
    """Map the arrays of these names, of one dimension and of these types; another one is a `CorruptFileError`."""
    arrays = []
    for name, dtype in types.items():
        array = map_array(folder / f"{name}.npy")
        if array.ndim != 1 or array.dtype != dtype:
            raise _unsound(folder, f"{name} is {array.dtype} of shape {array.shape}")
        arrays.append(array)
    return arrays


def map_array(path: Path) -> Array:
    """Map an array for reading; a mapped file holds no descriptor, so there may be any number."""
    with path.open("rb") as file:
        try:
            if (version := np.lib.format.read_magic(file)) != (1, 0):
                raise ValueError(f"its format is {version}, not (1, 0)")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
            with pa.memory_map(str(path)) as mapped:
                values = np.frombuffer(mapped.read_buffer(), dtype, offset=start)
            return values.reshape(shape, order="F" if by_columns else "C")
        except UNREADABLE as error:
            raise _unsound(path, f"it is no array ({error})") from error


def _unsound(place: Path, what: str) -> CorruptFileError:
    folder = place if place.is_dir() else place.parent
    return CorruptFileError(f"{place}: {what}; remove the folder {folder.name} and build again")


def check_arrays(agree: bool, folder: Path, names: str) -> None:
    """Refuse arrays of a folder whose lengths do not agree, by a `CorruptFileError`."""
    if not agree:
        raise _unsound(folder, f"{names} differ in length")


def check_places(numbers: Array, count: int, folder: Path, name: str) -> None:
    """Refuse numbers of an array by which kernels read others, unless all are from 0 to below `count`."""
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < count):
        raise _unsound(folder, f"{name} has numbers from {numbers.min()} to {numbers.max()} for {count} places")


def check_offsets(offsets: Array, count: int, folder: Path, name: str) -> None:
    """Refuse an array that says where each of several runs begins, unless it rises from 0 to `count`."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != count or not (offsets[1:] >= offsets[:-1]).all():
        raise _unsound(folder, f"{name} does not rise from 0 to {count}")


def check_weights(weights: Array, folder: Path, name: str) -> None:
    """Refuse weights that are negative, infinite or no numbers."""
    if len(weights) and not (weights.min() >= 0 and weights.max() < np.inf):
        raise _unsound(folder, f"{name} has weights from {weights.min()} to {weights.max()}")


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as one batch, so that a row's number is its place in it."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def read_arrow(path: Path) -> pa.Table:
    """Map what `write_arrow` wrote; what it points to is checked, and else a `CorruptFileError`."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        table.validate(full=True)
    except pa.ArrowException as error:
        raise _unsound(path, f"it is no Arrow file ({error})") from error
    return table
