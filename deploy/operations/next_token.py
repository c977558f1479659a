"""`next-token`: neighbours of a language model's keys, for a model on another machine to mix them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mnemodex.deploy.operations.base import Form, retriever_of
from mnemodex.schemas.errors import LimitError, QueryError
from mnemodex.schemas.packed import Packed

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours

KEYS = 1024
"""Keys of a request: a model's states at so many tokens."""
NUMBERS = 1 << 20
"""Neighbours of a request, over all its keys."""


class NextTokenForm(Form):
    """A look-up in a datastore.

    Attributes:
        index: of type knn_lm.
        what: `nearest` for the nearest entries of each key, `measure` for the exact distances of named entries,
            `describe` for what the datastore was built from, which a model has to agree with.
        keys: the model's states, a list of numbers each, or packed; the answer is packed where they are.
        k: neighbours of each key.
        positions: of entries, a list for each key, for `measure`; -1 for none.
    """

    index: str
    what: Literal["nearest", "measure", "describe"] = "nearest"
    keys: list[list[float]] | Packed | None = None
    k: int = Field(default=64, ge=1)
    positions: list[list[int]] | Packed | None = None


def next_token(served: Served, request: NextTokenForm, access: Access) -> dict[str, Any]:
    """Return the neighbours of each key: squared distances, the tokens that came next, and positions.

    In lists, a missing neighbour has the distance None, and positions are strings.
    """
    from mnemodex.retrievers.next_token import NextTokenRetriever

    access.admit("search", served.name, request.index)
    access.require_all_rows("a datastore", "its entries are of the whole corpus")
    answer = {"memory": served.name, "snapshot": served.snapshot, "index": request.index}
    datastore = retriever_of(served, request.index, NextTokenRetriever, "knn_lm")
    if request.what == "describe":
        return {**answer, "datastore": _description(datastore.info)}
    keys = _keys(request, datastore.info.dimension)
    if request.what == "measure":
        neighbours = datastore.measure(keys, _positions(request, len(keys)))
    else:
        _check_size(len(keys), request.k, served.limits.k)
        neighbours = datastore.nearest(keys, request.k)
    return {**answer, **(_pack if isinstance(request.keys, Packed) else _list)(neighbours)}


def _keys(request: NextTokenForm, dimension: int) -> Float32s:
    """Return the keys of a request, float32 of shape (keys, dimension)."""
    if request.keys is None or isinstance(request.keys, Packed):
        if request.keys is None:
            raise QueryError(f"keys: are missing. Give a list of {dimension} numbers for each")
        keys = request.keys.array("keys", "float16", "float32").astype(np.float32)
    else:
        for number, key in enumerate(request.keys):
            if len(key) != dimension:
                raise QueryError(f"keys: key {number} has {len(key)} numbers. Give {dimension}, as the datastore has")
        # What is too large for float32 becomes infinity, and is refused as that is.
        with np.errstate(over="ignore"):
            keys = np.array(request.keys, np.float64).reshape(-1, dimension).astype(np.float32)
    if not 0 < len(keys) <= KEYS:
        raise LimitError(f"keys: there are {len(keys)}. Give 1 to {KEYS} in a request")
    if keys.shape[1] != dimension:
        raise QueryError(f"keys: have {keys.shape[1]} numbers each. Give {dimension}, as the datastore has")
    finite = np.isfinite(keys).all(axis=1)
    if not finite.all():
        raise QueryError(f"keys: key {int(np.argmin(finite))} holds NaN or infinity. Leave it out")
    return keys


def _positions(request: NextTokenForm, keys: int) -> Int64s:
    """Return the positions of a request, int64 of shape (keys, as many as there are for a key)."""
    if request.positions is None:
        raise QueryError("positions: are missing. Give a list of them for each key")
    if isinstance(request.positions, Packed):
        positions = request.positions.array("positions", "int64").astype(np.int64)
    else:
        if len({len(row) for row in request.positions}) != 1:
            raise QueryError("positions: some keys have more than others. Give a list for each key, filled up with -1")
        try:
            positions = np.array(request.positions, np.int64).reshape(len(request.positions), -1)
        except OverflowError as error:
            raise QueryError("positions: one has more than 63 bits. Give those of an answer") from error
    if len(positions) != keys:
        raise QueryError(
            f"positions: are of {len(positions)} keys, but there are {keys} keys. Give a list for each key"
        )
    _check_size(keys, positions.shape[1], NUMBERS)
    return positions


def _check_size(keys: int, k: int, most: int) -> None:
    if k > most:
        raise LimitError(f"k: is {k}. Ask for at most {most} neighbours of a key")
    if keys * k > NUMBERS:
        raise LimitError(f"k: {k} neighbours of {keys} keys are more than {NUMBERS}. Ask for fewer, or with fewer keys")


def _pack(neighbours: Neighbours) -> dict[str, Any]:
    return {
        "distances": Packed.of(neighbours.distances).to_json(),
        "tokens": Packed.of(neighbours.tokens).to_json(),
        "positions": Packed.of(neighbours.ids).to_json(),
    }


def _list(neighbours: Neighbours) -> dict[str, Any]:
    # JSON has no infinity.
    distances = [[one if math.isfinite(one) else None for one in row] for row in neighbours.distances.tolist()]
    return {
        "distances": distances,
        "tokens": neighbours.tokens.tolist(),
        "positions": [[str(position) for position in row] for row in neighbours.ids.tolist()],
    }


def _description(info: DatastoreInfo) -> dict[str, Any]:
    """Return a datastore's description as JSON; its arrays are packed. Of a model's folder it says only the name."""
    names = ("name", "rows", "dimension", "key", "model_sha256", "tokenizer_sha256", "vocabulary", "window")
    return {
        **{name: getattr(info, name) for name in (*names, "overlap", "scale")},
        "model": Path(info.model).name if Path(info.model).is_absolute() else info.model,
        "prefix": list(info.prefix),
        "sample_tokens": Packed.of(info.sample_tokens[None]).to_json(),
        "sample_keys": Packed.of(info.sample_keys).to_json(),
    }
