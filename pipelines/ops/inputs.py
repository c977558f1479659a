"""What a unit reads: its partitions and shards as checked files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.base import InputPartition
from mnemodex.pipelines.ops.former import Former, former_folder
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.messages import Unit
    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store


class Inputs:
    """The inputs of one unit.

    Attributes:
        former: rows of the current snapshot's table, for a step that takes some over.
    """

    def __init__(self, store: Store, unit: Unit, run: str) -> None:
        self.unit = unit
        self._store = store
        self._run = run
        self.former = Former(store, former_folder(run, unit.step))

    def former_of(self, table: str) -> Former:
        """Return the current snapshot's partitions of a table that the step reads."""
        return Former(self._store, former_folder(self._run, self.unit.step, table))

    def partitions(self, number: int, *, aligned: tuple[str, ...] = (), first: int = 0) -> list[InputPartition]:
        """Return the partitions, or shards, of one input, every file checked.

        Args:
            number: of the input in the step.
            aligned: names for the inputs after it, whose partitions of the same label each of them is given.
            first: the first one of them.
        """
        parts = [self._partition(artifact, number) for artifact in self.artifacts(number, first=first)]
        for name, others in zip(aligned, range(number + 1, number + 1 + len(aligned)), strict=True):
            for part, other in zip(parts, self.partitions(others), strict=True):
                part.aligned[name] = other
        return parts

    def pages(self, number: int, *, first: int = 0) -> Iterator[tuple[str, Path]]:
        """Yield label and file of partitions from one on, unchecked: whoever reads a column checks its pages."""
        for artifact in self.artifacts(number, first=first):
            yield artifact.label, self._store.files.unchecked(artifact.file(".parquet"))

    def rows(self, number: int) -> int:
        """Return the rows of an input's partitions."""
        return sum(artifact.rows for artifact in self.artifacts(number))

    def check(self) -> None:
        """Check all files of the inputs, so that reading them has not to wait for that."""
        for number in range(len(self.unit.inputs)):
            for artifact in self.artifacts(number):
                for file in artifact.files:
                    self._store.files.local(file)

    def partition(self, number: int = 0) -> InputPartition:
        """Return the only partition of an input."""
        (part,) = self.partitions(number)
        return part

    def folder(self, number: int) -> Path:
        """Return the folder of the only shard of an input."""
        (artifact,) = self.artifacts(number)
        for file in artifact.files:
            self._store.files.local(file)
        return self._store.files.path(artifact.folder)

    def files(self, number: int, name: str) -> list[Path]:
        """Return the file of a name of each shard of an input, checked."""
        return [self._store.files.local(shard.file(f"/{name}")) for shard in self.artifacts(number)]

    def batches(self, number: int, columns: tuple[str, ...] = (), *, rows: int = 2048) -> Iterator[pa.RecordBatch]:
        """Read the rows of an input's partitions, one after the other."""
        for part in self.partitions(number):
            yield from parquet.read_batches(part.files["parquet"], columns=columns or None, rows=rows)

    def ids(self, number: int, column: str) -> Int64s:
        """Return one column of an input's partitions, int64."""
        columns = [parquet.column(part.files["parquet"], column) for part in self.partitions(number)]
        return np.concatenate([np.zeros(0, np.int64), *columns])

    def part(self, number: int) -> Path | None:
        """Return the file that an input has for this unit's label, or None."""
        return next(self.parts(number), None)

    def parts(self, number: int) -> Iterator[Path]:
        """Yield the files of an input that have this unit's label as their name, in the order of its partitions."""
        for artifact in self.artifacts(number):
            file = artifact.part(self.unit.label)
            if file is not None:
                yield self._store.files.local(file)

    def artifacts(self, number: int, *, first: int = 0) -> Iterator[Artifact]:
        """Yield what an input consists of, from one on."""
        for place in self.places(number)[first:]:
            artifact = self._store.artifact(place)
            if artifact is None:
                raise CorruptFileError(
                    f"{self._store.root / place}: its marker is missing or damaged; run the build again"
                )
            yield artifact

    def places(self, number: int) -> list[str]:
        """Return where what an input consists of is."""
        places = list(self.unit.inputs[number])
        if len(places) == 1 and places[0].startswith("@"):
            listed: list[str] = json.loads(self._store.files.read(f"{self._run}/{places[0][1:]}.json"))
            return listed
        return places

    def _partition(self, artifact: Artifact, number: int) -> InputPartition:
        files = {file.path.rpartition(".")[2]: self._store.files.local(file) for file in artifact.files}
        folder = self._store.files.path(artifact.folder)
        starts = self.unit.starts.get(artifact.label, ())
        start = starts[number] if number < len(starts) else 0
        return InputPartition(artifact.label, artifact.rows, files, stats=artifact.stats, folder=folder, start=start)
