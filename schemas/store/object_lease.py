"""The lease of a memory in an object store: an object that its holder renews."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Self

import psutil
from pydantic import ConfigDict, Field, FiniteFloat, ValidationError

from mnemodex.schemas.artifacts import Frozen
from mnemodex.schemas.errors import ObjectStoreError, WriterBusyError
from mnemodex.schemas.store.files import LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.store.object_client import ObjectClient

SECONDS = 60.0
"""After which a lease ends that was not renewed."""


class Lease(Frozen):
    """Who writes to a memory.

    Attributes:
        holder: another one for each build or change.
        host: the machine's name.
        process: the process's number there.
        until: when it ends unless it is renewed, in seconds since 1970.
    """

    model_config = ConfigDict(strict=True)

    holder: str
    host: str
    process: Annotated[int, Field(ge=0, lt=1 << 31)]
    until: FiniteFloat

    @classmethod
    def begin(cls, holder: str) -> Self:
        """Return a lease of this process that begins now."""
        return cls(holder=holder, host=socket.gethostname(), process=os.getpid(), until=time.time() + SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether it ended, or its process, which ran on this machine, did."""
        if self.until < time.time():
            return True
        return self.host == socket.gethostname() and not psutil.pid_exists(self.process)

    def to_bytes(self) -> bytes:
        """Return what the object holds."""
        return self.model_dump_json().encode()


_DAMAGED = Lease(holder="", host="", process=0, until=0.0)
"""In the place of one that cannot be read: it is over."""


@contextlib.contextmanager
def hold_lease(client: ObjectClient) -> Iterator[None]:
    """Hold a memory for writing, so that two builds do not do the same work.

    Commits do not rely on it: a writer that lost it, because its machine was suspended, damages nothing, since only one
    writer can put a snapshot.

    Raises:
        WriterBusyError: another build holds it.
    """
    holder = uuid.uuid4().hex
    etag = _acquire(client, holder)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(client, holder, etag, ended), name="mnemodex-lease", daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        # A lease that cannot be given back ends by itself.
        with contextlib.suppress(ObjectStoreError):
            held = _read(client)
            if held is not None and held[0].holder == holder:
                client.delete([LEASE])


def _acquire(client: ObjectClient, holder: str) -> str:
    """Put the lease where there is none, or in the place of one that is over; return its etag."""
    etag = client.create(LEASE, Lease.begin(holder).to_bytes())
    while etag is None:
        held = _read(client)
        if held is None:
            etag = client.create(LEASE, Lease.begin(holder).to_bytes())
            continue
        lease, held_etag = held
        if not lease.is_over:
            left = max(1, round(lease.until - time.time()))
            raise WriterBusyError(
                f"{client.url}: another build, process {lease.process} on {lease.host}, is writing to this memory; "
                f"wait for it to end, or stop it, and run again (its lease ends {left} s after it stopped)"
            )
        etag = client.replace(LEASE, Lease.begin(holder).to_bytes(), held_etag)
    return etag


def _renew(client: ObjectClient, holder: str, etag: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS / 3):
        with contextlib.suppress(ObjectStoreError):
            renewed = client.replace(LEASE, Lease.begin(holder).to_bytes(), etag)
            if renewed is None:
                return
            etag = renewed


def _read(client: ObjectClient) -> tuple[Lease, str] | None:
    """Return the lease and its etag, read by one request; None where there is none."""
    try:
        answer = client.get(LEASE)
        data = b"".join(client.rest(LEASE, answer))
    except FileNotFoundError:
        return None
    try:
        lease = Lease.model_validate_json(data)
    except ValidationError:
        lease = _DAMAGED
    return lease, answer.meta["e_tag"] or ""
