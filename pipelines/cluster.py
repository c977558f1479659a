"""Ray itself: starting one on this machine, or joining a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import RayStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT_STORE_BYTES = 256 << 20
"""Only short strings and single answers pass through the object store, so a local one need not take Ray's 30 % of
memory."""


_PAUSE_SECONDS = 3.0
"""Before Ray is started again on a machine that was too busy."""


def start_ray(address: str | None) -> bool:
    """Start Ray, or connect to the cluster at `address`; return whether there was none in this process yet.

    A local start is tried twice: on a busy machine Ray's own processes are not always ready in time.

    Raises:
        RayStartError: it cannot be started, or no cluster answers.
    """
    # Set before Ray is imported: its own progress and warnings would write between ours.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        return False
    local = address in {None, "local"}
    for attempt in (1, 2) if local else (2,):
        try:
            _init(address or "local", local=local)
        except Exception as error:
            # Ray raises what its parts raise: time-outs, connection errors, plain exceptions.
            ray.shutdown()
            if attempt == 2:
                raise _not_started(address, error, local=local) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            break
    return True


def _init(address: str, *, local: bool) -> None:
    import ray

    extra: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES} if local else {}
    with _native_stderr_held():
        ray.init(
            address=address,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **extra,
        )


def _not_started(address: str | None, error: Exception, *, local: bool) -> RayStartError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if local:
        return RayStartError(
            f"Ray could not be started on this machine ({reason}). It may be too busy, or short of memory, processes "
            "or space in /tmp: try again, or build with --local, which needs no Ray"
        )
    return RayStartError(
        f"{address}: no Ray cluster can be reached there ({reason}). Check the address, the port and RAY_AUTH_TOKEN, "
        "or leave --address out"
    )


@contextlib.contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Keep what Ray's C++ part writes while it starts (that its log level was set), and show it only if that fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
