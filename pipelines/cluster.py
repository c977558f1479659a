"""Ray itself: starting one on this machine, or joining a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT_STORE_BYTES = 256 << 20
"""Only short strings and single answers pass through the object store, so a local one need not take Ray's 30 % of
memory."""


def start_ray(address: str | None) -> bool:
    """Start Ray, or connect to the cluster at `address`; whether there was none in this process yet."""
    # Set before Ray is imported: its own progress and warnings would write between ours.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        return False
    local = address in {None, "local"}
    extra: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES} if local else {}
    with _native_stderr_held():
        ray.init(
            address=address or "local",
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **extra,
        )
    return True


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
