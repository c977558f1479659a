"""What an operation is: a form that is filled in by a request, and a function that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from mnemodex.schemas.errors import LimitError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from mnemodex.deploy.memories import Served
    from mnemodex.retrievers.base import Retriever

_Retriever = TypeVar("_Retriever", bound="Retriever")


class Form(BaseModel):
    """What a request says.

    Attributes:
        memory: that is asked; may be left out where one is served.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: `POST /v1/NAME`, and a tool of assistants.

    Attributes:
        name: its name.
        form: of its requests.
        run: answers a request, in a thread, given the memory, the form and the access; checks first whether the access
            allows it.
        summary: one line for the documentation.
        threads: those that it runs in; by default those of all operations.
    """

    name: str
    form: type[Form]
    run: Callable[..., dict[str, Any]]
    summary: str
    threads: Executor | None = None


def check_number(what: str, values: Sequence[Any], most: int) -> None:
    """Refuse a request of no values, or of more than one may have, by a `LimitError`."""
    if not values:
        raise LimitError(f"{what}: is empty. Give one or more")
    if len(values) > most:
        raise LimitError(f"{what}: {len(values)} of them. Give at most {most} in a request")


def retriever_of(served: Served, index: str, kind: type[_Retriever], type_: str) -> _Retriever:
    """Return the retriever of an index that has to be of one type.

    Raises:
        QueryError: it is of another type; the message lists those of this one.
        MnemodexError: there is no such index, or it cannot be opened.
    """
    retriever = served.retriever(index)
    if not isinstance(retriever, kind):
        entries = served.memory.snapshot.manifest.indexes.values()
        others = ", ".join(entry.name for entry in entries if entry.type == type_) or "none"
        raise QueryError(f"index {index!r}: is not of type {type_}. Ask one of these: {others}")
    return retriever
