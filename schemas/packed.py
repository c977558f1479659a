"""Arrays as JSON: the base64 of their bytes, which takes a sixth of the room of numbers that are written out."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Dtype = Literal["float16", "float32", "int32", "int64"]

_Size = Annotated[int, Field(ge=0, lt=1 << 31)]


class Packed(BaseModel):
    """A matrix as the base64 of its little-endian bytes, row by row.

    Attributes:
        data: the base64, of the standard alphabet.
        dtype: the type of the numbers.
        shape: rows and columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    dtype: Dtype
    shape: tuple[_Size, _Size]

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self:
        """Return a matrix, packed. Its dtype is one of `Dtype`."""
        dtype: Any = array.dtype.name
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return cls(data=base64.b64encode(data).decode("ascii"), dtype=dtype, shape=(len(array), array.shape[1]))

    def to_json(self) -> dict[str, Any]:
        """Return it for printing."""
        return self.model_dump(mode="json")

    def array(self, name: str, *dtypes: Dtype) -> NDArray[Any]:
        """Return the matrix.

        Args:
            name: what errors call it.
            dtypes: that it may have.

        Raises:
            QueryError: it is of another dtype, or its data are not what dtype and shape say.
        """
        import numpy as np

        if self.dtype not in dtypes:
            raise QueryError(f"{name}: are of dtype {self.dtype}. Give {' or '.join(dtypes)}")
        try:
            data = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise QueryError(
                f"{name}: the data are not base64 ({error}). Encode the bytes by the standard alphabet"
            ) from error
        dtype = np.dtype(self.dtype).newbyteorder("<")
        size = math.prod(self.shape) * dtype.itemsize
        if len(data) != size:
            raise QueryError(
                f"{name}: the data have {len(data)} bytes, but {self.dtype} of shape {list(self.shape)} has {size}. "
                "Give the array's own shape and dtype"
            )
        return np.frombuffer(data, dtype).reshape(self.shape)
