"""Methods without a reference to their object: what is kept with one of them does not keep the object too."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")


def weak(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a bound method that does not keep its object, whose reference count may end while the method is held."""
    reference = weakref.WeakMethod(method)

    def call(*given: _P.args, **named: _P.kwargs) -> _T:
        bound = reference()
        if bound is None:
            raise QueryError("the memory is gone; keep it as long as its SQL relations")
        return bound(*given, **named)

    return call
