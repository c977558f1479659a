"""Ops that write a little, die or fail, and what drives them: named as `ops_that_fail:Class` in a `Step`.

Workers on Ray find them here.
"""

from __future__ import annotations

import builtins
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mnemodex.pipelines.ops import checkpoint
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.unit import Draft
from mnemodex.schemas import errors
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import SourceUnit, Step
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.pipelines.messages import Unit
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.store.store import Store


class Writes(Op):
    """Publishes the unit's label as its content."""

    def run(self, inputs: Inputs, output: Output) -> Stats:
        (output.folder / "data.txt").write_text(inputs.unit.label)
        output.rows = 1
        return Stats()


class Deaths(Spec):
    """How often a unit kills its worker, and the file in which each death is noted."""

    noted: str
    times: dict[str, int]


class Dies(Writes):
    """Kills its process (SIGKILL) in the midst of a unit."""

    Settings: ClassVar[type[Spec]] = Deaths
    settings: Deaths

    def run(self, inputs: Inputs, output: Output) -> Stats:
        stats = super().run(inputs, output)
        label = inputs.unit.label
        if deaths(self.settings.noted).count(label) < self.settings.times.get(label, 0):
            with Path(self.settings.noted).open("a") as file:
                file.write(f"{label}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return stats


def deaths(noted: str | Path) -> list[str]:
    """The labels of the units that killed a worker, or what else was noted line by line."""
    return Path(noted).read_text().split() if Path(noted).exists() else []


class Error(Spec):
    """The class of an error and its arguments."""

    name: str
    arguments: tuple[str | int, ...]


class Fails(Writes):
    """Raises the error that its settings name, when it has written."""

    Settings: ClassVar[type[Spec]] = Error
    settings: Error

    def run(self, inputs: Inputs, output: Output) -> Stats:
        super().run(inputs, output)
        name = self.settings.name
        raise getattr(errors if hasattr(errors, name) else builtins, name)(*self.settings.arguments)


class FatalChunker:
    """A chunker to be passed to `build`: one chunk a document; a text with a certain word kills the worker."""

    identity = "one chunk"

    def __init__(self, word: str) -> None:
        self.word = word

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        if any(self.word in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return [np.array([[0, len(text)]], np.int64) for text in texts]


class FatalEncoder:
    """An encoder to be passed to `build`: it notes how many texts it is given, and kills the worker once.

    Args:
        noted: the file with a line for every call.
        at: the call that kills.
    """

    identity = "ones"
    dimension = 8

    def __init__(self, noted: str, at: int) -> None:
        self.noted = noted
        self.at = at

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # In the worker: what it has done is kept at once.
        checkpoint.SECONDS = 0
        with Path(self.noted).open("a") as file:
            file.write(f"{len(texts)}\n")
        if len(deaths(self.noted)) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones((len(texts), self.dimension), np.float32)


def notes(op: str, labels: Sequence[str], settings: Spec) -> Step:
    """A step that makes the table `notes`, one unit a label."""
    units = tuple(SourceUnit(label, label, label) for label in labels)
    return Step("notes", f"ops_that_fail:{op}", (), (TableKey("notes"),), settings, source=units)


def units_of(store: Store, step: Step) -> tuple[str, list[Unit]]:
    """The folder of a run to which the step is written, and the step's units."""
    files = RunFiles(store, {})
    files.add(step)
    drafts = [Draft(unit.label, [], source=unit) for unit in step.source]
    return files.run, [files.unit(step, draft, "f") for draft in drafts]
