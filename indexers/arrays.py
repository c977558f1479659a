"""Arrays: short names of their types, ids in them; and the files of arrays and of Arrow tables that are mapped."""

from __future__ import annotations

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
Int32s: TypeAlias = NDArray[np.int32]
Int64s: TypeAlias = NDArray[np.int64]
Float16s: TypeAlias = NDArray[np.float16]
Float32s: TypeAlias = NDArray[np.float32]
Float64s: TypeAlias = NDArray[np.float64]


def find_ids(ids: Int64s, wanted: Int64s) -> Int64s:
    """Return the position of each wanted id among ids in any order; of one that is not there, any position."""
    order = np.argsort(ids)
    return order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]


def save_arrays(folder: Path, **arrays: Array) -> None:
    """Write each array as `NAME.npy` into a folder."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def open_arrays(folder: Path, *names: str) -> list[Array]:
    """Map the arrays of these names for reading; a mapped file holds no descriptor, so there may be any number."""
    return [_map(folder / f"{name}.npy") for name in names]


def _map(path: Path) -> Array:
    with path.open("rb") as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"{path}: its format is {version}, not (1, 0)")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    with pa.memory_map(str(path)) as mapped:
        values = np.frombuffer(mapped.read_buffer(), dtype, offset=start)
    return values.reshape(shape, order="F" if by_columns else "C")


def check_arrays(agree: bool, folder: Path, names: str) -> None:
    """Refuse arrays of a folder whose lengths do not agree, by a `CorruptFileError`."""
    if not agree:
        raise CorruptFileError(f"{folder}: {names} differ in length; remove the folder and build again")


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as one batch, so that a row's number is its place in it."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def read_arrow(path: Path) -> pa.Table:
    """Map what `write_arrow` wrote; the caller has verified the file's checksum."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
