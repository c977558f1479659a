"""Ray Serve around the application: the one module that knows it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.cluster import start_ray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.deploy.settings import ServerSettings

_NAME = "mnemodex"
_RUNNING = 16
"""Requests of a replica beyond its queue: they are answered that it is full."""


@contextlib.contextmanager
def serving(settings: ServerSettings) -> Iterator[None]:
    """Serve on a Ray of this machine as long as the context lasts; all of it ends with it.

    Raises:
        RayStartError: Ray cannot be started.
    """
    start_ray(None)
    import ray
    from ray import serve

    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options={
                "host": settings.host,
                "port": settings.port,
                "ssl_certfile": settings.tls_cert and str(settings.tls_cert),
                "ssl_keyfile": settings.tls_key and str(settings.tls_key),
            },
        )
        serve.run(application(settings), name=_NAME)
        yield
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call] # Ray leaves it so
        ray.shutdown()


def application(settings: ServerSettings | dict[str, Any]) -> Any:
    """Return the application for Ray Serve.

    Args:
        settings: the server's, or the `args` of a configuration of Ray Serve that names this function.

    Raises:
        UserError: they are no settings of a server.
    """
    from ray import serve

    from mnemodex.deploy.settings import ServerSettings
    from mnemodex.schemas.validation import validate

    if isinstance(settings, dict):
        settings = validate(ServerSettings, settings, name="args")
    threads = max(1, (os.cpu_count() or 1) // settings.replicas)

    @serve.deployment(
        name="replica",
        num_replicas=settings.replicas,
        max_ongoing_requests=settings.limits.queued + _RUNNING,
        ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(threads)}}},
    )
    @serve.ingress()
    class Replica:
        """A process that answers."""

        def __init__(self, settings: ServerSettings) -> None:
            from mnemodex.deploy.service import Service

            self._settings = settings
            self._state = Service(settings)
            self._state.warm()

        def __serve_build_asgi_app__(self) -> Any:
            from mnemodex.deploy.app import http_app

            return http_app(self._settings, self._state)

    made: Any = Replica
    return made.bind(settings)
