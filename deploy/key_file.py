"""The file of a server's keys: their hashes, and what each may do."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mnemodex.deploy.access import Access, Scope
from mnemodex.deploy.filters import check_filter
from mnemodex.schemas.errors import QueryError, UserError, reason
from mnemodex.schemas.validation import say_first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX = "mnx_"
"""What keys begin with, so that scanners find those that were committed to a repository."""
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_FORMAT = ConfigDict(frozen=True, extra="forbid")


class Key(BaseModel):
    """What the file says of a key.

    Attributes:
        name: as the audit log has it.
        sha256: of the key. A key has 256 random bits, which nobody guesses however fast a hash is: a slow one, which
            passwords need, would make each request slow and no key safer.
        scopes: what may be asked.
        memories: that may be asked; None means all.
        indexes: likewise.
        where: a filter of each question.
        rate: requests a second; None where they are not limited.
        created: when, UTC.
        revoked: when, UTC; None where it holds.
    """

    model_config = _FORMAT

    name: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    memories: list[str] | None = None
    indexes: list[str] | None = None
    where: str | None = None
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    created: str
    revoked: str | None = None

    @field_validator("name")
    @classmethod
    def _is_word(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name; write up to 64 letters, digits, dots, hyphens and underscores")
        return name

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        limit = "where" if self.where is not None else "indexes" if self.indexes is not None else None
        if limit is not None and "sql" in self.scopes:
            raise ValueError(f"a key with {limit} gets no scope sql: statements read all tables; make a key for each")
        if self.where is None:
            return self
        if "admin" in self.scopes:
            raise ValueError("a key with where gets no scope admin: metrics count all questions; make a key for each")
        try:
            check_filter(self.where)
        except QueryError as error:
            raise ValueError(str(error)) from error
        return self

    def access(self) -> Access:
        """Return what its bearer may do."""
        return Access(
            key_name=self.name,
            scopes=frozenset(self.scopes),
            memories=None if self.memories is None else frozenset(self.memories),
            indexes=None if self.indexes is None else frozenset(self.indexes),
            where=self.where,
            rate=self.rate,
        )


class KeyFile(BaseModel):
    """The content of a file of keys."""

    model_config = _FORMAT

    format: Literal[1] = 1
    keys: list[Key] = []

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two keys are called {name!r}; rename one")
        return self


def read_keys(path: Path) -> KeyFile:
    """Return the content of a file of keys.

    Raises:
        UserError: it is not there, is none, or others may write it.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
            raise UserError(f"{path}: others can write it, and make keys. Run chmod 600 {path}")
        return KeyFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}). Make it with mnemodex keys add") from error
    except ValidationError as error:
        raise UserError(f"{path}: is no file of keys ({say_first(error)}). Correct it, or make another") from error


def add_key(path: Path, key: Key) -> None:
    """Add a key to a file, which is made where it is not there.

    Raises:
        UserError: there is one of that name, or the file cannot be read or written.
    """
    with _changing(path):
        file = read_keys(path) if path.exists() else KeyFile()
        if any(other.name == key.name for other in file.keys):
            raise UserError(f"{path}: has a key {key.name!r}. Give this one another name")
        _write(path, file.model_copy(update={"keys": [*file.keys, key]}))


def revoke_key(path: Path, name: str) -> None:
    """Revoke a key; its name stays in the file, so that no other one gets it.

    Raises:
        UserError: there is no such key, or the file cannot be read or written.
    """
    with _changing(path):
        file = read_keys(path)
        if name not in [key.name for key in file.keys]:
            names = ", ".join(key.name for key in file.keys) or "none"
            raise UserError(f"{path}: has no key {name!r}. Name one of: {names}")
        keys = [
            key.model_copy(update={"revoked": now()}) if key.name == name and key.revoked is None else key
            for key in file.keys
        ]
        _write(path, file.model_copy(update={"keys": keys}))


def new_token() -> tuple[str, str]:
    """Return a new key and its hash."""
    token = _PREFIX + secrets.token_urlsafe(32)
    return token, hash_token(token)


def now() -> str:
    """Return the time, UTC."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def hash_token(token: str) -> str:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Let one process at a time change the files of keys of a folder."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{path}: its folder cannot be opened ({reason(error)}). Make it, or name another") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)}). Name another file") from error
    finally:
        os.close(folder)


def _write(path: Path, file: KeyFile) -> None:
    """Write a file of keys by rename, readable by its owner alone: a server sees the former one or this one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(file.model_dump(mode="json"), indent=1) + "\n"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    try:
        with os.fdopen(descriptor, "w") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
