"""Ids that collide: every table with ids of its own is looked through once."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from mnemodex.indexers.arrays import are_among
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.ops.scatter import ROWS, scatter
from mnemodex.schemas.errors import IdCollisionError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import All, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, table_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.tables import TableSpec


class UniqueSettings(Spec):
    """The id column, the label of its table, and what to do about two rows with one id."""

    column: str
    table: Annotated[str, RunOnly()] = ""
    remedy: Annotated[str, RunOnly()] = "a hash collision; set `id_salt` in the recipe to any word and build again"


class CheckUnique(Op):
    """Refuses a table in which two rows have one id.

    Where few rows follow the partitions of the current snapshot, only their ids are sorted.
    """

    Settings: ClassVar[type[Spec]] = UniqueSettings
    seconds_per_megabyte: ClassVar[float] = 0.01
    settings: UniqueSettings

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            IdCollisionError: names the id, and the remedy.
        """
        column = self.settings.column
        former = inputs.former_of(self.settings.table).places if inputs.former else []
        count = len(former) if inputs.places(0)[: len(former)] == former else 0
        new = sum(artifact.rows for artifact in inputs.artifacts(0, first=count))
        parts = (parquet.column(path, column) for _, path in inputs.pages(0))
        if count and new <= ROWS:
            # Of a long table the former part is not held in memory.
            later = (parquet.column(path, column) for _, path in inputs.pages(0, first=count))
            ids = np.sort(np.concatenate([np.zeros(0, np.int64), *later]))
            self._refuse([ids[1:][ids[1:] == ids[:-1]]])
            self._refuse(part[are_among(part, ids)] for part in itertools.islice(parts, count))
        else:
            groups = scatter(self.work.store.files, (part[:, np.newaxis] for part in parts), inputs.rows(0))
            for group in groups:
                ids = np.sort(group[:, 0])
                self._refuse([ids[1:][ids[1:] == ids[:-1]]])
        (output.folder / "unique.txt").write_text(column)
        return Stats()

    def _refuse(self, repeated: Iterable[Int64s]) -> None:
        for ids in repeated:
            if len(ids):
                msg = f"two rows have the {self.settings.column} {ids[0]}: {self.settings.remedy}"
                raise IdCollisionError(msg)


def unique_step(key: TableKey, spec: TableSpec, op: str) -> Step | None:
    """Return the step that checks the ids of what `op` writes; None where it has none of its own."""
    column = spec.id_column
    if column is None or column in spec.parents or key.draft:
        return None
    settings = UniqueSettings(column=column, table=key.label)
    if table_spec(key) is None:
        settings = UniqueSettings(
            column=column, table=key.label, remedy=f"every row of {key.label} needs its own; correct {op}"
        )
    return Step(
        f"{key.label}: ids",
        "mnemodex.pipelines.ops.unique:CheckUnique",
        (Read(key, All(), (column,)),),
        (TableKey("ids", key.label.replace("/", "-"), draft=True),),
        settings,
        identity=settings.identity(),
        reuse=column,
    )
