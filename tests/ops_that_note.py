"""Ops that wait and note who ran them when and where, and plans of them: named as `ops_that_note:Notes` in a `Step`.

Workers on Ray find them here.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mnemodex.pipelines.materialize import Materializer
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.plan import Plan
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.ray_engine import RayEngine
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Resources, SourceUnit, Step
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.steps import Read
    from mnemodex.schemas.store.store import Store


class Waits(Spec):
    """How long a unit takes, and the file in which it is noted."""

    seconds: float
    notes: str


class Notes(Op):
    """Waits, and publishes the unit's label as its content."""

    Settings: ClassVar[type[Spec]] = Waits
    settings: Waits

    def run(self, inputs: Inputs, output: Output) -> Stats:
        import ray

        here = ray.get_runtime_context()
        said = {
            "step": inputs.unit.step,
            "label": inputs.unit.label,
            "pid": os.getpid(),
            "node": here.get_node_id(),
            "cpus": self.work.cpus,
            "gpus": len(here.get_accelerator_ids()["GPU"]),
            "began": time.monotonic(),
        }
        _append(self.settings.notes, said)
        time.sleep(self.settings.seconds)
        _append(self.settings.notes, {**said, "ended": time.monotonic()})
        (output.folder / "data.txt").write_text(inputs.unit.label)
        output.rows = 1
        return Stats()


def _append(path: str, said: dict[str, Any]) -> None:
    with Path(path).open("a") as file:
        file.write(f"{json.dumps(said)}\n")


@dataclass(frozen=True)
class Note:
    """What a unit said of itself; `ended` is None where it was not heard of again."""

    step: str
    label: str
    pid: int
    node: str
    cpus: int
    gpus: int
    began: float
    ended: float | None = None

    def meets(self, other: Note) -> bool:
        """Whether both were at work at one time."""
        return self.began < (other.ended or 0) and other.began < (self.ended or 0)


def read_notes(path: Path, step: str) -> list[Note]:
    """What units of a step said: those that are finished, and those that began and did not finish."""
    said = [Note(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    ended = {(note.pid, note.step, note.label) for note in said if note.ended}
    return [note for note in said if note.step == step and (note.ended or (note.pid, step, note.label) not in ended)]


def step(name: str, notes: Path, seconds: float, *reads: Read, units: int = 0, **resources: Any) -> Step:
    """A step that writes the table of its name."""
    labels = [f"u{number}" for number in range(units)]
    return Step(
        name,
        "ops_that_note:Notes",
        reads,
        (TableKey(name),),
        Waits(seconds=seconds, notes=str(notes)),
        # Two steps that do the same would share their results.
        identity=name,
        resources=Resources(**resources),
        source=tuple(SourceUnit(label, label, label) for label in labels),
    )


def carry_out(store: Store, *steps: Step, address: str | None = None) -> BuildResults:
    """Carry a plan of these steps out on Ray, as a build does."""
    store.prepare()
    results, files = BuildResults(None, store), RunFiles(store, {})
    plan = Plan([("all", lambda context: steps)])
    engine = RayEngine(store, files.run, address=address, objects={})
    work = Materializer(store, plan, results, former=None, files=files, progress=Progress())
    try:
        work.compute(engine)
    finally:
        engine.close()
        files.remove()
    return results
