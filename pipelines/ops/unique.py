"""Ids that collide: every table with ids of its own is looked through once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.ops.scatter import scatter
from mnemodex.schemas.errors import IdCollisionError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import All, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, table_spec

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.tables import TableSpec


class UniqueSettings(Spec):
    """The id column, and what to do about two rows with one id."""

    column: str
    remedy: Annotated[str, RunOnly()] = "a hash collision; set `id_salt` in the recipe to any word and build again"


class CheckUnique(Op):
    """Refuses a table in which two rows have one id."""

    Settings: ClassVar[type[Spec]] = UniqueSettings
    seconds_per_megabyte: ClassVar[float] = 0.01
    settings: UniqueSettings

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            IdCollisionError: names the id, and the remedy.
        """
        column = self.settings.column
        parts = (parquet.column(path, column)[:, np.newaxis] for _, path in inputs.pages(0))
        for group in scatter(self.work.store.files, parts, inputs.rows(0)):
            ids = np.sort(group[:, 0])
            repeated = ids[1:][ids[1:] == ids[:-1]]
            if len(repeated):
                raise IdCollisionError(f"two rows have the {column} {repeated[0]}: {self.settings.remedy}")
        (output.folder / "unique.txt").write_text(column)
        return Stats()


def unique_step(key: TableKey, spec: TableSpec, op: str) -> Step | None:
    """Return the step that checks the ids of what `op` writes; None where it has none of its own."""
    column = spec.id_column
    if column is None or column in spec.parents or key.draft:
        return None
    settings = UniqueSettings(column=column)
    if table_spec(key) is None:
        settings = UniqueSettings(column=column, remedy=f"every row of {key.label} needs its own; correct {op}")
    return Step(
        f"{key.label}: ids",
        "mnemodex.pipelines.ops.unique:CheckUnique",
        (Read(key, All(), (column,)),),
        (TableKey("ids", key.label.replace("/", "-"), draft=True),),
        settings,
        identity=settings.identity(),
    )
