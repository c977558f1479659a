"""The files of one shard: flat `.npy` arrays, opened by mmap, and one small JSON that says what they must be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import CorruptFileError, NewerFormatError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1
DESCRIPTION = "shard.json"
FACTS = ("rows", "documents", "tokens", "sample_rate", "document_bits", "vocabulary_sha256")


def write_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write an array that is in memory."""
    np.save(folder / f"{name}.npy", array, allow_pickle=False)


def create_array(folder: Path, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Make a file of zeros and map it for writing, so that it takes no memory of the process's own."""
    array: NDArray[Any] = np.lib.format.open_memmap(
        folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape
    )
    return array


def write_description(folder: Path, names: list[str], facts: dict[str, Any]) -> None:
    """Write the JSON: the facts, and of every array its type, shape and bytes on disk."""
    arrays = {}
    for name in names:
        path = folder / f"{name}.npy"
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "bytes": path.stat().st_size}
    text = json.dumps({"format": FORMAT, **facts, "arrays": arrays}, indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """Read the JSON.

    Raises:
        CorruptFileError: it is missing or cut short.
        NewerFormatError: a newer version wrote it.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        version = description["format"]
        if version <= FORMAT:
            return {name: description[name] for name in (*FACTS, "arrays")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptFileError(
            f"{path}: not the description of an n-gram shard ({error}); build the shard again"
        ) from error
    raise NewerFormatError(f"{path}: format {version}, but this version of Mnemodex reads up to {FORMAT}; update it")


def open_array(folder: Path, name: str, description: dict[str, Any]) -> NDArray[Any]:
    """Map one array for reading.

    Raises:
        CorruptFileError: the file is missing, cut short, or not of the type and shape that the description gives.
    """
    path = folder / f"{name}.npy"
    try:
        expected = description["arrays"][name]
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise CorruptFileError(f"{path}: {size} bytes instead of {expected['bytes']}; build the shard again")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CorruptFileError(f"{path}: cannot be opened ({error}); build the shard again") from error
    if array.dtype.str != expected["dtype"] or list(array.shape) != expected["shape"]:
        raise CorruptFileError(
            f"{path}: {array.dtype.str} {array.shape} is not what {DESCRIPTION} says; build the shard again"
        )
    # numba takes a plain array faster than its subclass np.memmap.
    plain: NDArray[Any] = array.view(np.ndarray)
    return plain
