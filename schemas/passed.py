"""Objects that a Python caller passes to `build` instead of settings: a chunker, an encoder."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any, Literal

import numpy as np

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.sections import TextEmbedding
from mnemodex.schemas.spec import Spec

_BASES = ("builtins", "abc", "typing")
"""Modules of classes that decide nothing."""


class PassedChunker(Spec):
    """A chunker that the caller passes; `identity_of` decides its chunks."""

    by: Literal["passed"] = "passed"
    identity_of: str


class PassedEmbedding(TextEmbedding):
    """An encoder that the caller passes as the recipe's entry `name`; `identity_of` decides its vectors."""

    encoder: Literal["passed"] = "passed"
    identity_of: str
    name: str


def identity_of(made: Any) -> str:
    """Return what decides the results of an object: its attribute `identity`, or its classes' code and its values.

    Where neither can be told, it is a `RecipeError`.
    """
    declared = getattr(made, "identity", None)
    kind = type(made)
    if isinstance(declared, str | int) and declared != "":
        return str(declared)
    if declared is not None:
        raise RecipeError(
            f"{kind.__name__}: its attribute `identity` is {declared!r} of type {type(declared).__name__}; make it a "
            "string that changes when its results do"
        )
    try:
        code = [inspect.getsource(one) for one in kind.__mro__ if one.__module__ not in _BASES]
        values = json.dumps(_values(made), sort_keys=True, default=_plain)
        return fingerprint(kind.__qualname__, code, values)
    except (OSError, TypeError, ValueError) as error:
        raise RecipeError(
            f"{kind.__name__}: what decides its results cannot be told ({error}); give it an attribute `identity`, a "
            "string that changes when its results do"
        ) from error


def _values(made: Any) -> dict[str, Any]:
    """Return what an object holds, in its dictionary or in slots."""
    values = dict(vars(made)) if hasattr(made, "__dict__") else {}
    for one in type(made).__mro__:
        slots = getattr(one, "__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        values |= {name: getattr(made, name) for name in names if not name.startswith("__") and hasattr(made, name)}
    return values


def _plain(value: Any) -> Any:
    # The bytes of an array of objects are addresses.
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return [value.shape, str(value.dtype), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    objects = " of objects" if isinstance(value, np.ndarray) else ""
    raise TypeError(f"it holds a {type(value).__name__}{objects}")
