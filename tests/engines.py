"""The engine of builds in tests: one worker in this process, with one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.engine import LocalEngine

if TYPE_CHECKING:
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
