"""The compilation of inner loops with numba, and what it lacks: two machine instructions, arrays at addresses.

Kernels are compiled at their first call and kept in numba's cache on disk. A cached kernel does not notice a change in
a helper of another file: after changing a helper, delete the `*.nbi` files in `__pycache__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from mnemodex.indexers.arrays import Int64s, Uint64s

_F = TypeVar("_F", bound="Callable[..., Any]")


def kernel(function: _F) -> _F:
    """Compile a function that Python calls: cached on disk, without the interpreter lock."""
    return cast("_F", njit(cache=True, nogil=True, error_model="numpy")(function))


def helper(function: _F) -> _F:
    """Compile a function that only kernels call: it becomes part of them."""
    return cast("_F", njit(nogil=True, error_model="numpy")(function))


@helper
def copy_row(source: Int64s, row: int, target: Int64s, place: int) -> None:
    """Do `target[place] = source[row]`, which numba takes a second to compile, for its check of the shapes."""
    for column in range(source.shape[1]):
        target[place, column] = source[row, column]


def _popcount(_context: Any, _word: Any) -> tuple[Any, Any]:
    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _prefetch(_context: Any, array: Any, index: Any) -> tuple[Any, Any]:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        byte = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        int32 = ir.IntType(32)
        declared = ir.FunctionType(ir.VoidType(), [byte.type, int32, int32, int32])
        function: Any = cgutils.get_or_insert_function(builder.module, declared, "llvm.prefetch.p0")
        # For reading (0), to be kept in every cache (3), data (1).
        builder.call(function, [byte, int32(0), int32(3), int32(1)])
        return target.get_dummy_value()

    return types.none(array, types.int64), generate


def _pointer(_context: Any, _address: Any) -> tuple[Any, Any]:
    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


_as_pointer: Any = intrinsic(_pointer)


@helper
def array_at(address: int, length: int, dtype: Any) -> Any:
    """Return the array of so many elements at `array.ctypes.data`, so that a kernel takes any number of arrays.

    The caller keeps the array, which is of that type and contiguous.
    """
    return carray(_as_pointer(address), length, dtype)


popcount = cast("Callable[[np.uint64], int]", intrinsic(_popcount))
"""`popcount(word)`: the ones of a uint64, as int64."""

prefetch = cast("Callable[[Uint64s, int], None]", intrinsic(_prefetch))
"""`prefetch(array, index)`: begin to load the cache line of an element; it may lie outside the array."""
