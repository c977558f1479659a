"""The lease of a memory in an object store: an object that its holder renews."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import psutil

from mnemodex.schemas.errors import ObjectStoreError, WriterBusyError
from mnemodex.schemas.store.files import LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.store.object_client import ObjectClient

SECONDS = 60.0
"""After which a lease ends that was not renewed."""


@contextlib.contextmanager
def hold_lease(client: ObjectClient) -> Iterator[None]:
    """Hold a memory for writing, so that two builds do not do the same work.

    It is no more than that: who loses it, because its machine was asleep, harms nothing, since a snapshot is committed
    by a put that only one writer can do.

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
            if (_read(client) or {}).get("holder") == holder:
                client.delete([LEASE])


def _acquire(client: ObjectClient, holder: str) -> str:
    etag = client.create(LEASE, _lease(holder))
    while etag is None:
        head, held = client.head(LEASE), _read(client)
        if head is None or held is None:
            etag = client.create(LEASE, _lease(holder))
        elif _is_over(held):
            etag = client.replace(LEASE, _lease(holder), head["e_tag"])
        else:
            left = max(1, round(held["until"] - time.time()))
            raise WriterBusyError(
                f"{client.url}: another build, process {held['process']} on {held['host']}, is writing to this memory; "
                f"wait for it to end, or stop it, and run again (its lease ends {left} s after it stopped)"
            )
    return etag


def _renew(client: ObjectClient, holder: str, etag: str, ended: threading.Event) -> None:
    while not ended.wait(SECONDS / 3):
        with contextlib.suppress(ObjectStoreError):
            renewed = client.replace(LEASE, _lease(holder), etag)
            if renewed is None:
                return
            etag = renewed


def _lease(holder: str) -> bytes:
    value = {"holder": holder, "host": socket.gethostname(), "process": os.getpid(), "until": time.time() + SECONDS}
    return json.dumps(value).encode()


def _read(client: ObjectClient) -> dict[str, Any] | None:
    """Return who holds the lease; None where nobody does."""
    try:
        held = json.loads(b"".join(client.parts(LEASE)))
    except FileNotFoundError:
        return None
    except ValueError:
        held = None
    kinds = {"holder": str, "host": str, "process": int, "until": float}
    sound = isinstance(held, dict) and held.keys() == kinds.keys()
    sound = sound and all(isinstance(held[name], kind) for name, kind in kinds.items()) and held["process"] < 1 << 31
    return held if sound else {"holder": "", "host": "", "process": 0, "until": 0.0}


def _is_over(held: dict[str, Any]) -> bool:
    """Return whether a lease ended, or its process, which ran on this machine, did."""
    if held["until"] < time.time():
        return True
    return held["host"] == socket.gethostname() and not psutil.pid_exists(held["process"])
