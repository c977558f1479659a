"""Which engine a build takes: this process where little is to be computed, else Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.engine import LocalEngine
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.results import BuildResults
    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.store.store import Store

LOCAL_SECONDS = 20.0
"""CPU seconds of work that are sooner done in this process than by a Ray that is still to be started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a build is computed.

    Attributes:
        address: of a Ray cluster, which is then used.
        local: whether this process is used in any case.
        runtime_env: Ray's runtime environment of the workers; with one, Ray is used.

    Raises:
        UserError: the build is to be computed in this process and on Ray.
    """

    address: str | None = None
    local: bool = False
    runtime_env: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.local and self.address is not None:
            raise UserError("--local computes in this process and --address on a cluster; give one of them")
        if self.local and self.runtime_env is not None:
            raise UserError("--local computes in this process and --runtime-env is for Ray; give one of them")


def choose_engine(store: Store, run: str, work: float, *, place: Place, objects: Mapping[str, Any]) -> Engine:
    """Return the engine of a build.

    Args:
        store: the memory.
        run: the folder of the build's steps and lists.
        work: CPU seconds that are to be computed, roughly.
        place: what the caller asked for.
        objects: what the caller of `build` passed.
    """
    small = place.address is None and place.runtime_env is None and work < LOCAL_SECONDS
    if place.local or small:
        return LocalEngine(store, run, cpus=len(os.sched_getaffinity(0)), objects=objects)
    from mnemodex.pipelines.ray_engine import RayEngine

    return RayEngine(store, run, address=place.address, runtime_env=place.runtime_env, objects=objects)


def estimate(results: BuildResults, todo: Mapping[str, Sequence[Draft]]) -> float:
    """Return the CPU seconds that a build takes, roughly: what is read first, by what every step takes of it."""
    size = max((sum(map(_bytes, drafts)) for drafts in todo.values()), default=0)
    return size / 1e6 * sum(step.op.seconds_per_megabyte for step in results.steps.values() if not step.complete)


def _bytes(draft: Draft) -> int:
    if draft.source is not None:
        return draft.source.bytes
    return sum(part.bytes for parts in draft.inputs[:1] for part in parts)
