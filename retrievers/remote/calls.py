"""What is asked of a server: requests, and how their answers are read. No HTTP library is known here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mnemodex.schemas.errors import ServerError

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

    def result(self, bodies: list[Any], url: str) -> _T:
        """Return the result; raise `ServerError` where the server at the URL has sent what cannot be read as one."""
        try:
            return self.read(bodies)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(
                f"{url}: its answer is not that of a server of this version ({type(error).__name__}: "
                f"{str(error)[:200]!r}). Check the address, and use one version of Mnemodex on both sides"
            ) from error


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
