"""The engines of builds in tests: one worker in this process, with one thread; or a local Ray."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnemodex.pipelines.engine import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.messages import Unit
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store


class InlineEngine(LocalEngine):
    """Takes the place of `mnemodex.pipelines.run.choose_engine`.

    Class attributes: `computed` counts the units since a test set it to 0; `started` the builds that took an engine.
    """

    computed = 0
    started = 0

    def __init__(self, store: Store, run: str, work: float = 0.0, **options: Any) -> None:
        super().__init__(store, run, cpus=1, objects=options.get("objects") or {})
        InlineEngine.started += 1

    def submit(self, step: Step, unit: Unit) -> None:
        InlineEngine.computed += 1
        super().submit(step, unit)


@contextlib.contextmanager
def local_ray(*, cpus: int, gpus: int = 0) -> Iterator[None]:
    """A Ray whose one node says that it has so many, to which this process is connected; the engine takes it."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        # Its workers find what tests share, and no test.
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 << 20,
            logging_level="ERROR",
        )
    yield
    ray.shutdown()
