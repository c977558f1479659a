"""What a build did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.pipelines.progress import StepReport
    from mnemodex.schemas.store.object_url import Root


@dataclass
class BuildResult:
    """What a build did, or would do.

    Attributes:
        memory: the memory's folder.
        snapshot: the current snapshot's name; None for a plan of a memory without any.
        committed: whether this build made it; False where everything was there.
        steps: the closing table.
        seconds: wall time.
        engine: what computed: "Ray", "this process", or None where nothing was computed.
        start_seconds: what starting Ray took.
        warnings: what the user should know: rows left out, texts cut, recall below target.
        planned: whether nothing was computed because only a plan was asked for.
    """

    memory: Root
    snapshot: str | None
    committed: bool
    steps: list[StepReport]
    seconds: float
    engine: str | None = None
    start_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    planned: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as `build --json` prints it."""
        names = ("snapshot", "committed", "seconds", "start_seconds", "engine", "warnings")
        steps = [step.to_json(planned=self.planned) for step in self.steps]
        return {"memory": str(self.memory), **{name: getattr(self, name) for name in names}, "steps": steps}
