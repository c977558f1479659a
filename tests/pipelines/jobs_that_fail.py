"""Jobs that die, fail or wait, named as `jobs_that_fail:Class` in a `JobSpec`."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mnemodex.pipelines.resources import Resources
from mnemodex.schemas import errors

if TYPE_CHECKING:
    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


class Job:
    """Publishes the unit's label as its content."""

    resources: ClassVar[Resources] = Resources()

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store
        self.settings = settings

    def setup(self, cpus: int) -> None:
        pass

    def run(self, unit: Unit) -> list[Artifact]:
        attempt = self._store.files.attempt()
        (attempt / "data.txt").write_text(unit.label)
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=1)]


class Dies(Job):
    """Ends the process at the units whose payload says `die`, as often as that says; notes each death in a file.

    It exits: in a test's own process that is what comes nearest to being killed, for no handler of errors stops it.
    """

    def run(self, unit: Unit) -> list[Artifact]:
        deaths = Path(self.settings["deaths"])
        noted = deaths.read_text() if deaths.exists() else ""
        if noted.count(unit.label) < unit.payload.get("die", 0):
            deaths.write_text(noted + unit.label)
            raise SystemExit
        return super().run(unit)


class Fails(Job):
    """Raises the error that its settings name."""

    def run(self, unit: Unit) -> list[Artifact]:
        name, *arguments = self.settings["error"]
        raise getattr(errors if hasattr(errors, name) else builtins, name)(*arguments)
