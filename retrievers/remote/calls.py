"""What is asked of a server: requests, and how their answers are read. No HTTP library is known here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnemodex.retrievers.remote.catalogue import Limits

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. It reads and changes nothing, so that it may be repeated.

    Attributes:
        path: on the server, from the first slash.
        body: sent as JSON by POST; without one the request is a GET.
    """

    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """Requests, in their order, that have one result together.

    Attributes:
        requests: which are sent.
        read: returns the result, given the answers' bodies.
    """

    requests: Sequence[Request]
    read: Callable[[list[Any]], _T]


def batches(texts: Sequence[str], limits: Limits) -> Iterator[Sequence[str]]:
    """Yield texts in batches of which a server takes each in one request.

    A text that is too long by itself is a batch of its own, and the server says so.
    """
    # The other half is for filters and names.
    most = limits.body_bytes // 2
    start, size = 0, 0
    for number, text in enumerate(texts):
        length = len(json.dumps(text, ensure_ascii=False).encode()) + 1
        if number > start and (number - start == limits.questions or size + length > most):
            yield texts[start:number]
            start, size = number, 0
        size += length
    if start < len(texts):
        yield texts[start:]
