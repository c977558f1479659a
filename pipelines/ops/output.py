"""What a unit writes: rows of tables, files of shards, rows that were left out; and how far it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mnemodex.pipelines.ops.checkpoint import Checkpoint
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.manifest import Artifact, Stats
from mnemodex.schemas.steps import IndexKey, Key
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.tables import ERRORS, TableKey, TableSpec, spec_of, table_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.messages import StepOrder, Unit
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.schemas.store.store import Store

_BATCH = 65_536
"""Rows of a table that are written at once."""

Report = Callable[[int], None]
"""Called with the number of rows of the unit that are done."""


class Output:
    """The results of one unit, in a folder of its own until they are published.

    Attributes:
        rows: of the first result; counted by `write`, and set by an op that writes files.
        checkpoint: what a former try of this unit kept.
    """

    def __init__(self, store: Store, step: StepOrder, unit: Unit, report: Report) -> None:
        self._store = store
        self._step = step
        self._unit = unit
        self._folders: dict[Key, Path] = {}
        self._rows: dict[Key, int] = {}
        self._errors: list[tuple[str, BadRow]] = []
        self.progress = report
        self.checkpoint = Checkpoint(store, unit.fingerprint)

    @property
    def rows(self) -> int:
        """Rows of the first result."""
        return self._rows.get(self._step.result, 0)

    @rows.setter
    def rows(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise self._wrong(f"{self._step.result.label}: {count!r} is no number of rows")
        self._rows[self._step.result] = count

    @property
    def folder(self) -> Path:
        """The folder of the first result's files."""
        return self.folder_of(self._step.result)

    def folder_of(self, key: Key) -> Path:
        """Return the folder of a result's files."""
        if key not in self._folders:
            self._folders[key] = self._store.files.attempt()
        return self._folders[key]

    def write(
        self, table: TableSpec, batches: pa.Table | Iterable[pa.RecordBatch], *, key: TableKey | None = None
    ) -> int:
        """Write rows as a partition: Parquet, and for vectors the same matrix as `.npy`.

        Args:
            table: what the rows are.
            batches: the rows, as a table or as a stream.
            key: the result; the first one by default.

        Returns:
            The number of rows.

        Raises:
            StageFailedError: the rows are not of the table that the step declares.
        """
        if isinstance(batches, pa.Table):
            batches = batches.to_batches(max_chunksize=_BATCH)
        target = key or self._step.result
        declared = self._declared(target)
        if declared is not None and not declared.holds(table.schema):
            columns, expected = _columns(table.schema), _columns(declared.schema)
            raise self._wrong(f"{target.label}: rows have the columns {columns}, not {expected}")
        rows = write_partition(self.folder_of(target), table, self._counted(batches, table.schema, target))
        self._rows[target] = rows
        return rows

    def _declared(self, key: Key) -> TableSpec | None:
        """Return what the rows of a table are: of one of ours, or as a plug-in declares it."""
        if isinstance(key, IndexKey):
            return None
        order = self._step.tables.get(key.label)
        if order is None:
            return table_spec(key)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(order.schema_bytes)))
        return TableSpec(schema, id_column=order.id_column, parents=order.parents)

    def check_parents(self, inputs: Inputs) -> None:
        """Refuse rows that refer to rows which the step did not read, and two rows for one of them.

        Raises:
            StageFailedError: names the table, the column and the id.
        """
        for key, folder in self._folders.items():
            spec = self._declared(key)
            if spec is None:
                continue
            for column, parent in spec.parents.items():
                above = self._declared(TableKey.parse(parent))
                if parent not in self._step.reads or above is None or above.id_column is None:
                    continue
                ids = numbers(parquet.read(folder / "data.parquet", columns=[column])[column].drop_null())
                missing = ids[~np.isin(ids, inputs.ids(self._step.reads.index(parent), above.id_column))]
                if len(missing):
                    what = f"the {column} {missing[0]} of {len(missing)} rows is none of {parent}"
                    raise self._wrong(f"{key.label}: {what}")
                unique, counts = np.unique(ids, return_counts=True)
                if column == spec.id_column and len(unique) < len(ids):
                    raise self._wrong(f"{key.label}: {counts.max()} rows have the {column} {unique[counts.argmax()]}")

    def _wrong(self, what: str) -> StageFailedError:
        return StageFailedError(f"{what}; correct {self._step.op}")

    def _counted(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, key: Key) -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in batches:
            if not batch.schema.equals(schema):
                columns = _columns(batch.schema)
                raise self._wrong(f"{key.label}: a batch has the columns {columns}, not {_columns(schema)}")
            done += batch.num_rows
            yield batch
            self.progress(done)

    def errors(self, bad: list[BadRow], *, of: str = "", doc_ids: Sequence[int] = ()) -> None:
        """Write rows that were left out of a table, by default of the first result; nothing where there are none.

        Rows that were written before stay. With the documents that all rows are about, their ids are in an `.npy`
        of the same folder, int64 of shape (rows,).
        """
        if not bad:
            return
        stage = of or self._step.result.label
        self._errors += [(stage, row) for row in bad]
        spec = spec_of(ERRORS)
        rows = [{"stage": stage, **asdict(row)} for stage, row in self._errors]
        self.write(spec, pa.Table.from_pylist(rows, spec.schema), key=ERRORS)
        if doc_ids:
            np.save(self.folder_of(ERRORS) / "data.npy", np.array(doc_ids, np.int64), allow_pickle=False)

    def publish(self, stats: Stats) -> list[Artifact]:
        """Publish what was written, the first result last.

        Raises:
            StageFailedError: the first result has no file.
        """
        first = self._step.result
        if first not in self._folders or not any(self.folder.iterdir()):
            raise self._wrong(f"nothing was written for {first.label}")
        for key, folder in self._folders.items():
            for path in folder.rglob("*"):
                if path.is_symlink() or path.relative_to(folder).as_posix() == "marker.json":
                    raise self._wrong(f"{key.label}: {path.name} is a link, or has the name of the marker")
        published = [self._published(key, Stats(), ()) for key in self._folders if key != first]
        return [self._published(first, stats, tuple(artifact.place for artifact in published)), *published]

    def _published(self, key: Key, stats: Stats, also: tuple[str, ...]) -> Artifact:
        # Rows of `errors` come from several tables, whose partitions have the same labels.
        label = f"{self._step.result.label.replace('/', '-')}-{self._unit.label}" if key == ERRORS else self._unit.label
        return self._store.publish(
            self._folders[key],
            key.path,
            label,
            self._unit.fingerprint,
            rows=self._rows.get(key, 0),
            stats=stats,
            also=also,
            as_folder=isinstance(key, IndexKey),
        )

    def discard(self) -> None:
        """Remove what was not published."""
        for folder in self._folders.values():
            self._store.files.delete(folder.relative_to(self._store.files.scratch).as_posix())


def write_partition(folder: Path, table: TableSpec, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a partition's Parquet file, and for a table of vectors the same matrix as `.npy`; return the rows."""
    if "vector" not in table.schema.names:
        return parquet.write(folder / "data.parquet", table, batches)
    dimension = table.schema.field("vector").type.list_size
    vectors: list[np.ndarray[Any, np.dtype[np.float32]]] = [np.zeros((0, dimension), np.float32)]

    def tee() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors.append(numbers(batch["vector"].flatten()).reshape(-1, dimension))
            yield batch

    rows = parquet.write(folder / "data.parquet", table, tee())
    np.save(folder / "data.npy", np.concatenate(vectors), allow_pickle=False)
    return rows


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
