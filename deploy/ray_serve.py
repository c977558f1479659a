"""Ray Serve around the application: the one module that knows it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.deploy.proxy import MOST
from mnemodex.deploy.replicas import OneProcess, Replicas
from mnemodex.pipelines.cluster import nodes, start_ray
from mnemodex.schemas.errors import CorruptFileError, UserError
from mnemodex.schemas.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mnemodex.deploy.replicas import Reloaded
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings
    from mnemodex.schemas.store.object_url import Root

_NAME = "mnemodex"
_CONTROLLER = "SERVE_CONTROLLER_ACTOR"
_POLL_SECONDS = 0.05
_DEPLOYMENT = "replica"
_MORE = 64
"""Requests of a replica beyond those that it takes: it answers that it is busy, and is asked how it is."""
_STOP_SECONDS = 10.0
"""In which requests end when the server does."""
_HEALTH_SECONDS = 10.0
_RELOAD_SECONDS = 600.0
_METRICS_SECONDS = 2.0
PROXY = ("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "mnemodex.deploy.proxy:middlewares")
"""What Ray Serve puts around its proxy. Its processes read it from the environment of Ray."""
_EVERYWHERE = tuple(
    f"RAY_SERVE_{name}" for name in ("ENABLE_HA_PROXY", "ENABLE_DIRECT_INGRESS", "THROUGHPUT_OPTIMIZED")
)
"""With these, Ray Serve listens at all addresses of the machine, and ignores the host that is set."""


def check_environment(settings: ServerSettings) -> None:
    """Refuse a server without keys that Ray Serve would open to other machines, by a `UserError`."""
    for name in _EVERYWHERE:
        if settings.keys is None and os.environ.get(name, "0") == "1":
            raise UserError(
                f"{name}=1: Ray Serve listens at all addresses of this machine in that mode, and other machines could "
                "ask without a key. Make one with `mnemodex keys add FILE` and pass --keys FILE, or unset it"
            )


@contextlib.contextmanager
def serving(
    settings: ServerSettings, *, address: str | None = None, log: Path | None = None
) -> Iterator[dict[str, float]]:
    """Serve as long as the context lasts; all of it ends with it, but a cluster that was there before.

    Args:
        settings: the server's.
        address: of a Ray cluster, all of whose nodes have the files that the settings name; by default a Ray of this
            machine.
        log: the pipe that replicas of this machine write their log to.

    Yields:
        What the start took, seconds, by the names of its parts.

    Raises:
        UserError: other machines could ask without a key, a folder is no memory, or the cluster serves something.
        CorruptFileError: no manifest of a memory is sound.
        RayStartError: Ray cannot be started, or no cluster answers.
    """
    check_environment(settings)
    if address is not None and settings.keys is None:
        raise UserError(
            "--address: other machines reach the nodes of a cluster, and could ask without a key. Make one with "
            "`mnemodex keys add FILE` and pass --keys FILE"
        )
    for folder in settings.memories.values():
        _check_memory(folder)
    seconds = _Stopwatch()
    most = {MOST: str(settings.replicas * settings.limits.queued)}
    if address is None:
        os.environ.setdefault(*PROXY)
        os.environ.update(most)
        start_ray(None, only_here=True)
    else:
        start_ray(address, {"env_vars": dict([PROXY]) | most})
    import ray
    from ray import serve

    _refuse_another(address)
    seconds.lap("Ray")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        with ThreadPoolExecutor(1, "proxy") as threads:
            # It ends when the proxy is ready, which begins at the same time as the replicas.
            proxy = threads.submit(
                serve.start,
                proxy_location="HeadOnly",
                http_options={
                    "host": settings.host,
                    "port": settings.port,
                    "ssl_certfile": settings.tls_cert and str(settings.tls_cert),
                    "ssl_keyfile": settings.tls_key and str(settings.tls_key),
                },
                logging_config={"log_level": "WARNING", "enable_access_log": False},
            )
            _await_controller(proxy)
            seconds.lap("Ray Serve")
            handle = serve.run(_application(settings, log=log, of_nodes=len(nodes())), name=_NAME)
            proxy.result()
        seconds.lap("proxy and replicas")
        yield seconds.laps | handle.started.remote().result()
    finally:
        # Requests that run end; what is left of Serve ends with Ray.
        with contextlib.suppress(Exception):
            serve.delete(_NAME)
            if address is not None:
                serve.shutdown()  # type: ignore[no-untyped-call] # Ray leaves it so
        ray.shutdown()


def _refuse_another(address: str | None) -> None:
    """Refuse a cluster that already runs Ray Serve: it keeps its host and port, and another program may stop it."""
    import ray

    if any(actor["namespace"] == "serve" for actor in ray.util.list_named_actors(all_namespaces=True)):
        ray.shutdown()
        raise UserError(
            f"{address}: Ray Serve runs there already. End it (`serve shutdown`), or give its configuration the "
            f"application {__name__}:{application.__name__}"
        )


def _await_controller(proxy: Future[Any]) -> None:
    """Wait until Ray Serve accepts an application, or raise why it did not start."""
    from ray.util import list_named_actors

    while not proxy.done():
        if any(actor["name"] == _CONTROLLER for actor in list_named_actors(all_namespaces=True)):
            return
        time.sleep(_POLL_SECONDS)
    proxy.result()


def _check_memory(folder: Root) -> None:
    """Refuse a folder that replicas could not serve either, before they are started."""
    try:
        open_store(folder)
    except CorruptFileError:
        # Replicas serve a former snapshot, and say so.
        if Store(folder).sound() is None:
            raise


def application(args: dict[str, Any]) -> Any:
    """Return the application for a configuration of Ray Serve that names this function.

    Args:
        args: the server's settings, as such a configuration has them.

    Raises:
        UserError: they are no settings of a server.
    """
    from mnemodex.deploy.settings import make_settings

    return _application(make_settings(args, at="args"))


def _application(settings: ServerSettings, *, log: Path | None = None, of_nodes: int = 1) -> Any:
    """Return the application for Ray Serve; replicas write their log to a pipe, or to stderr.

    Those of a node share its CPUs; a node is taken to have as many as this one.
    """
    from ray import serve

    threads = max(1, (os.cpu_count() or 1) // -(-settings.replicas // of_nodes))

    @serve.deployment(
        name=_DEPLOYMENT,
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.limits.queued + _MORE,
        health_check_period_s=_HEALTH_SECONDS,
        health_check_timeout_s=_HEALTH_SECONDS,
        graceful_shutdown_timeout_s=_STOP_SECONDS,
        graceful_shutdown_wait_loop_s=0.5,
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}},
    )
    @serve.ingress()
    class Replica:
        """A process that answers."""

        def __init__(self, settings: ServerSettings, log: Path | None) -> None:
            from mnemodex.deploy.log import log_to

            log_to(log)
            seconds = _Stopwatch()
            from mnemodex.deploy.service import Service

            self._service = Service(settings)
            seconds.lap("opening")
            warmed = self._service.warm()
            seconds.lap("warming")
            self._service.replicas = _AllReplicas(self._service)
            self._started = seconds.laps | warmed

        def __serve_build_asgi_app__(self) -> Any:
            from mnemodex.deploy.app import http_app

            return _WithoutId(http_app(self._service.settings, self._service))

        def check_health(self) -> None:
            self._service.check()

        async def started(self) -> dict[str, float]:
            return self._started

        async def reload(self, memory: str | None) -> tuple[str, list[Reloaded]]:
            return _replica(), (await OneProcess(self._service).reload(memory))["0"]

        async def families(self) -> tuple[str, list[dict[str, Any]]]:
            return _replica(), self._service.metrics.families()

    made: Any = Replica
    return made.bind(settings, log)


def _replica() -> str:
    """Return the name of this replica."""
    from ray import serve

    return serve.get_replica_context().replica_id.unique_id


class _AllReplicas(Replicas):
    """The replicas of the deployment that this process is one of."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @override
    async def reload(self, memory: str | None) -> dict[str, list[Reloaded]]:
        return dict(await self._ask("reload", memory, seconds=_RELOAD_SECONDS))

    @override
    async def families(self) -> dict[str, list[dict[str, Any]]]:
        try:
            return dict(await self._ask("families", seconds=_METRICS_SECONDS))
        except TimeoutError:
            # One of them hangs: what this one counts is better than nothing.
            return {_replica(): self._service.metrics.families()}

    async def _ask(self, method: str, *arguments: Any, seconds: float) -> list[Any]:
        from ray import serve

        handle = serve.get_deployment_handle(_DEPLOYMENT, app_name=_NAME)
        answers: list[Any] = await handle.broadcast(method, *arguments).results_async(timeout_s=seconds)
        return answers


class _WithoutId:
    """Leaves the id of a request out of the answer's headers: the proxy of Ray Serve adds it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_without(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
            await send(message)

        await self._app(scope, receive, send_without)


class _Stopwatch:
    """Seconds of the parts of a start."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Note what went by since the former part."""
        now = time.monotonic()
        self.laps[name] = now - self._last
        self._last = now
