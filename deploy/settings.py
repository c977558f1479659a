"""The settings of a server: memories, addresses, keys and limits."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from mnemodex.schemas.errors import UserError
from mnemodex.schemas.store.object_url import Root, parse_root
from mnemodex.schemas.validation import say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Count = Annotated[int, Field(ge=1)]
_Root = Annotated[Root, BeforeValidator(parse_root), PlainSerializer(str)]


class Limits(BaseModel):
    """What a request may ask for.

    Attributes:
        body_bytes: of a request.
        questions: of a request; also its texts, phrases and keys.
        k: hits of a question.
        seconds: a request may take, its time in the queue too.
        queued: requests that wait or run in a replica; a further one is refused with 429.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: _Count = 1 << 20
    questions: _Count = 64
    k: _Count = 1000
    seconds: Annotated[float, Field(gt=0)] = 30.0
    queued: _Count = 256


class ServerSettings(BaseModel):
    """A server's settings.

    Attributes:
        memories: their absolute folders or URLs, by name.
        host: the address that is listened at.
        port: its port.
        keys: the file of API keys; without one everybody on this machine may ask everything.
        replicas: processes that answer.
        follow: whether new snapshots are served as they are committed.
        sql: whether SQL is answered.
        feedback: the file that the page's thumbs go to.
        audit: the file of the audit log.
        tls_cert: the certificate for HTTPS, PEM.
        tls_key: its private key, PEM.
        limits: of requests.
        readers: the models that write answers, by their names; see `readers.name_readers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memories: dict[str, _Root]
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    keys: Path | None = None
    replicas: _Count = 1
    follow: bool = False
    sql: bool = False
    feedback: Path | None = None
    audit: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    limits: Limits = Limits()
    readers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if not self.memories:
            raise ValueError("no memory to serve; name one or more folders")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("HTTPS needs both a certificate and its key; pass --tls-cert and --tls-key")
        if self.keys is None and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host}: other machines could ask without a key. Make one with `mnemodex keys add FILE` "
                "and pass --keys FILE, or listen at 127.0.0.1"
            )
        return self


def make_settings(given: Mapping[str, Any], *, at: str = "") -> ServerSettings:
    """Return the settings of a server.

    Args:
        given: by their names.
        at: where they are written, for errors.

    Raises:
        UserError: they are none, or do not go together.
    """
    try:
        return ServerSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = [part for part in (at, ".".join(map(str, first["loc"]))) if part]
        raise UserError(": ".join([*where, say(first)])) from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def name_memories(arguments: Sequence[str]) -> dict[str, Root]:
    """Return the folders of `FOLDER` or `NAME=FOLDER` by their names; a name is the folder's where none is given.

    Raises:
        UserError: two have one name, or one has none.
    """
    named: dict[str, Root] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        folder = folder if equals else argument
        path = parse_root(folder).absolute()
        name = name if equals else str(path).rpartition("/")[2]
        if not name or not folder:
            raise UserError(f"{argument}: the memory has no name. Write NAME=FOLDER")
        if name in named:
            raise UserError(f"{argument}: two memories are called {name!r}. Give one another name: NAME=FOLDER")
        named[name] = path
    return named
