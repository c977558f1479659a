"""Ray itself: starting one on this machine, or joining a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.placement import NodeSize
from mnemodex.schemas.errors import RayStartError, RecipeError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OBJECT_STORE_BYTES = 256 << 20
"""Only short strings and single answers pass through the object store, so a local one need not take Ray's 30 % of
memory."""


_LOCAL = (None, "local")
"""Addresses with which a build starts a Ray of its own."""

_PAUSE_SECONDS = 3.0
"""Before Ray is started again on a machine that was too busy."""

_PROBE_SECONDS = 5.0
"""In which a cluster's head answers. Ray itself would try for minutes."""


def start_ray(address: str | None, runtime_env: Mapping[str, Any] | None = None, *, only_here: bool = False) -> bool:
    """Start Ray, or connect to the cluster at `address`; return whether there was none in this process yet.

    A local start is tried twice: on a busy machine Ray's own processes are not always ready in time.

    Args:
        address: of a cluster; "local" or None for one of its own.
        runtime_env: of the workers, checked.
        only_here: whether a local Ray is closed to other machines and users, as that of a server has to be.

    Raises:
        RayStartError: it cannot be started, or no cluster answers.
        UserError: there is a runtime environment, and Ray runs in this process already.
    """
    if only_here:
        _close_to_others()
    ray = _quiet_ray()
    if ray.is_initialized():
        if runtime_env is not None:
            raise UserError("runtime_env: Ray runs in this process already. Pass it to ray.init, or end Ray first")
        return False
    check_address(address)
    local = address in _LOCAL
    for attempt in (1, 2) if local else (2,):
        try:
            _init(address or "local", runtime_env, local=local)
        except Exception as error:
            # Ray raises what its parts raise: time-outs, connection errors, plain exceptions.
            ray.shutdown()
            if attempt == 2:
                raise _not_started(address, reason_of(error), local=local) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            break
    return True


def check_address(address: str | None) -> None:
    """Ask the head of a cluster whether it is there, in seconds, unless this process is connected to one already.

    Args:
        address: as for `start_ray`.

    Raises:
        RayStartError: it is not, or it refuses the token.
    """
    if address in _LOCAL or _quiet_ray().is_initialized():
        return
    import grpc
    from ray._private import services
    from ray._private.grpc_utils import init_grpc_channel

    # Requests as they travel: an empty one, and one whose only field, the type, is PING.
    method, request = "/ray.rpc.NodeInfoGcsService/CheckAlive", b""
    client = address.startswith("ray://")
    if client:
        method, request = "/ray.rpc.RayletDriver/ClusterInfo", b"\x08\x06"
    try:
        target = address.removeprefix("ray://") if client else services.canonicalize_bootstrap_address_or_die(address)
        with init_grpc_channel(target) as channel:
            channel.unary_unary(method)(request, timeout=_PROBE_SECONDS)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise RayStartError(
                f"{address}: the Ray cluster refuses the token. Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its "
                "head node"
            ) from error
        raise _not_started(address, error.details(), local=False) from error
    except Exception as error:
        # What Ray raises where it finds no address in the text, or no cluster on this machine.
        raise _not_started(address, reason_of(error), local=False) from error


def nodes() -> list[NodeSize]:
    """Return every node that is alive."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call] # Ray leaves it so
    return [
        NodeSize(node["NodeID"], *(int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU", "memory")))
        for node in alive
    ]


def put(objects: dict[str, Any]) -> Any:
    """Send the caller's objects to the cluster.

    Raises:
        RecipeError: one of them cannot be pickled.
    """
    import ray

    for section, passed in objects.items():
        try:
            ray.cloudpickle.dumps(passed)  # type: ignore[no-untyped-call] # Ray leaves it so
        except Exception as error:
            # Whatever the code of others raises is one message.
            raise RecipeError(
                f"{section}: the {type(passed).__name__} that was passed cannot be sent to workers "
                f"({type(error).__name__}: {error}); open what it holds at its first use, or build with local=True"
            ) from error
    return ray.put(objects)


def last_line(error: Exception) -> str:
    """Return what went wrong in a worker; before it, Ray says where in its own code that was."""
    return str(error).strip().splitlines()[-1].strip()


def reason_of(error: Exception) -> str:
    """Return an error on one line, cut where it is long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _close_to_others() -> None:
    """Let a Ray that this process starts listen at loopback, and answer those alone who have a token.

    Call it before Ray is imported. Whoever reaches Ray's ports runs any code. The first variable makes Ray take the
    loopback address for the node's, as it does by itself on macOS and Windows; replicas of Ray Serve listen at all
    addresses nevertheless, where the token refuses whoever lacks it, as it does other users of this machine.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _quiet_ray() -> Any:
    """Import Ray, whose own progress and warnings would write between ours."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    return ray


def _init(address: str, runtime_env: Mapping[str, Any] | None, *, local: bool) -> None:
    import ray

    extra: dict[str, Any] = {"object_store_memory": _OBJECT_STORE_BYTES} if local else {}
    with _native_stderr_held(), _sigterm_kept():
        ray.init(
            address=address,
            runtime_env=dict(runtime_env) if runtime_env is not None else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **extra,
        )


def _not_started(address: str | None, reason: str, *, local: bool) -> RayStartError:
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
def _sigterm_kept() -> Iterator[None]:
    """Keep a program's own handler of SIGTERM, which Ray replaces by its own."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(former) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)


@contextlib.contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Keep what Ray's C++ part writes while it starts (that its log level was set), and show it only if that fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except Exception:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
