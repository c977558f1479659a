"""Which engine a build takes: this process where little is to be computed, else Ray."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.engine import LocalEngine
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.pipelines.engine import Engine
    from mnemodex.pipelines.results import BuildResults
    from mnemodex.pipelines.unit import Draft
    from mnemodex.schemas.store.store import Store

_LOCAL_SECONDS = 20.0
"""CPU seconds of work that are sooner done in this process than by a Ray that is still to be started."""


def check_place(*, address: str | None, local: bool) -> None:
    """Refuse two places for one build.

    Raises:
        UserError: both `address` and `local` are given.
    """
    if local and address is not None:
        raise UserError("--local computes in this process and --address on a cluster; give one of them")


def choose_engine(
    store: Store,
    run: str,
    work: float,
    *,
    address: str | None,
    local: bool,
    objects: Mapping[str, Any],
) -> Engine:
    """Return the engine of a build.

    Args:
        store: the memory.
        run: the folder of the build's steps and lists.
        work: CPU seconds that are to be computed, roughly.
        address: of a Ray cluster, which is then used.
        local: whether this process is used in any case.
        objects: what the caller of `build` passed.

    Raises:
        UserError: both `address` and `local` are given.
    """
    check_place(address=address, local=local)
    if local or (address is None and work < _LOCAL_SECONDS):
        return LocalEngine(store, run, cpus=len(os.sched_getaffinity(0)), objects=objects)
    from mnemodex.pipelines.ray_engine import RayEngine

    return RayEngine(store, run, address=address, objects=objects)


def estimate(results: BuildResults, todo: Mapping[str, Sequence[Draft]]) -> float:
    """Return the CPU seconds that a build takes, roughly: what is read first, by what every step takes of it."""
    size = max((sum(map(_bytes, drafts)) for drafts in todo.values()), default=0)
    return size / 1e6 * sum(step.op.seconds_per_megabyte for step in results.steps.values() if not step.complete)


def _bytes(draft: Draft) -> int:
    if draft.source is not None:
        return draft.source.bytes
    return sum(part.bytes for parts in draft.inputs[:1] for part in parts)
