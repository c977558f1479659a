"""Look-ups in a next-token datastore as calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours
from mnemodex.retrievers.remote.calls import Call, Request
from mnemodex.retrievers.remote.received import same_snapshot
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.packed import Dtype, Packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.remote.catalogue import Catalogue

_KEYS = 1024
"""Keys that a server takes in one request."""
_NUMBERS = 1 << 20
"""Neighbours that a server gives in one request."""


@dataclass(frozen=True)
class NeighbourCalls:
    """The calls of a datastore, which give what a `Datastore` gives.

    Attributes:
        catalogue: of the memory.
        index: the index's name.
    """

    catalogue: Catalogue
    index: str

    def info(self) -> Call[DatastoreInfo]:
        """Return the call for what the datastore was built from."""

        def read(bodies: list[Any]) -> DatastoreInfo:
            described = dict(bodies[0]["datastore"])
            tokens = Packed.model_validate(described.pop("sample_tokens")).array("sample_tokens", "int32")[0]
            keys = Packed.model_validate(described.pop("sample_keys")).array("sample_keys", "float32")
            prefix = tuple(described.pop("prefix"))
            return DatastoreInfo(**described, prefix=prefix, sample_tokens=tokens, sample_keys=keys)

        return Call((self._request({"what": "describe"}),), read)

    def nearest(self, keys: Float32s, k: int) -> Call[Neighbours]:
        """Return the call for the k nearest entries of each of some keys, shape (q, dimension)."""
        _check_keys(keys)
        requests = [
            self._request({"what": "nearest", "keys": _packed(keys[part]), "k": k}) for part in self._parts(keys, k)
        ]
        return Call(requests, lambda bodies: _read(bodies, k))

    def measure(self, keys: Float32s, ids: Int64s) -> Call[Neighbours]:
        """Return the call for named entries with their exact distances: ids of shape (q, m), -1 for none."""
        _check_keys(keys)
        m = ids.shape[1]
        requests = [
            self._request({"what": "measure", "keys": _packed(keys[part]), "positions": _packed(ids[part])})
            for part in (self._parts(keys, m) if m else ())
        ]
        return Call(requests, lambda bodies: _read(bodies, m) if m else Neighbours.missing(len(keys), 0))

    def _request(self, body: dict[str, Any]) -> Request:
        return Request("/v1/next-token", {"memory": self.catalogue.name, "index": self.index, **body})

    def _parts(self, keys: Float32s, k: int) -> Iterator[slice]:
        """Yield which keys are sent in one request."""
        # Base64 makes four letters of three bytes; positions are 8 bytes each.
        row = 4 * (4 * keys.shape[1] + 8 * k) // 3 + 1
        size = max(1, min(_KEYS, _NUMBERS // max(1, k), self.catalogue.limits.body_bytes // 2 // row))
        for start in range(0, len(keys), size):
            yield slice(start, start + size)


def _packed(array: Any) -> dict[str, Any]:
    return Packed.of(np.ascontiguousarray(array)).to_json()


def _check_keys(keys: Float32s) -> None:
    """Refuse keys that are no matrix of float32, which others would read as something else."""
    if keys.ndim != 2 or keys.dtype != np.float32:
        raise QueryError(
            f"keys: are of shape {keys.shape} and dtype {keys.dtype}. Give float32 of shape (keys, dimension)"
        )


def _read(bodies: list[Any], k: int) -> Neighbours:
    """Return the neighbours of all answers together."""
    if not bodies:
        return Neighbours.missing(0, k)
    same_snapshot(bodies)

    def joined(name: str, dtype: Dtype) -> Any:
        # A reader writes into what it is given.
        return np.concatenate([Packed.model_validate(body[name]).array(name, dtype) for body in bodies])

    return Neighbours(joined("distances", "float32"), joined("tokens", "int32"), joined("positions", "int64"))
