"""Ray's runtime environment of the workers: packages, code and variables, checked before and when they are set up."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.cluster import last_line, reason_of
from mnemodex.schemas.errors import RayStartError, UserError
from mnemodex.schemas.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.placement import NodeSize

START_SECONDS = 30.0
"""In which a process starts in a runtime environment that is set up. Ray itself would start another one for ever."""

_DOWNLOADED = ("pip", "uv", "conda", "container", "image_uri")
"""Keys whose setting up takes as long as a network does; Ray limits it."""

_PYTHONS = ("py_executable", "conda", "container", "image_uri")
"""Keys that choose the workers' Python."""


def check_runtime_env(given: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return a runtime environment, read from its file if that is given.

    Raises:
        UserError: it cannot be read, has a key that Ray does not know, or a value that Ray refuses.
    """
    from ray.runtime_env import RuntimeEnv

    where = "runtime_env" if isinstance(given, Mapping) else str(given)
    data = given
    if not isinstance(given, Mapping):
        data = read_yaml(Path(given), kind="a runtime environment", remedy="give a YAML or JSON file")
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: is a {type(data).__name__}. Give keys and values, as in `env_vars: {{NAME: value}}`")
    known = {name.removeprefix("_") for name in RuntimeEnv.known_fields - RuntimeEnv.extensions_fields}
    for key in data:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}. Ray knows {', '.join(sorted(known))}")
    try:
        RuntimeEnv(**data)
    except Exception as error:
        # Ray's checks raise errors of many classes.
        raise UserError(f"{where}: Ray refuses it ({reason_of(error)}). Correct that value") from error
    return dict(data)


def check_start(alive: Sequence[NodeSize]) -> None:
    """Start a process on every node, where the build has a runtime environment; its workers will be such processes.

    Args:
        alive: the nodes.

    Raises:
        RayStartError: the runtime environment cannot be set up, or no process starts in it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # As it was passed to us, to `ray.init` or to `ray job submit`.
    env: Any = ray.get_runtime_context().runtime_env
    if not env:
        return
    # By value, as everything without a name: the package may not be there.
    start: Any = ray.remote(lambda: None)
    started = {}
    for node in alive:
        where = NodeAffinitySchedulingStrategy(node.name, soft=False)
        started[start.options(num_cpus=0, max_retries=0, scheduling_strategy=where).remote()] = node
    limit = _limit(env)
    ready, late = ray.wait(list(started), num_returns=len(started), timeout=limit)
    try:
        ray.get(ready)
    except ray.exceptions.RuntimeEnvSetupError as error:
        raise RayStartError(
            f"the runtime environment of the workers cannot be set up ({last_line(error)}). Correct --runtime-env"
        ) from error
    except ray.exceptions.RayError as error:
        raise RayStartError(f"Ray starts no process on a node ({reason_of(error)}). Build again") from error
    if late:
        given = "".join(f" ({key}: {env[key]})" for key in _PYTHONS if key in env)
        raise RayStartError(
            f"no process of the runtime environment{given} starts on node {started[late[0]].name[:12]} in {limit:g} s. "
            f"Correct --runtime-env: workers need Python {platform.python_version()} with Ray {ray.__version__}"
        )


def _limit(env: Mapping[str, Any]) -> float | None:
    """Return the seconds in which a process starts, with what Ray may take to set the environment up."""
    from ray.runtime_env import RuntimeEnvConfig

    uris = (env.get("working_dir", ""), *env.get("py_modules", ()))
    # Ray has uploaded what lay on this machine.
    if not any(key in env for key in _DOWNLOADED) and all(uri.startswith("gcs://") for uri in uris if uri):
        return START_SECONDS
    setup: int = {**RuntimeEnvConfig(), **env.get("config", {})}["setup_timeout_seconds"]
    return START_SECONDS + setup if setup > 0 else None
