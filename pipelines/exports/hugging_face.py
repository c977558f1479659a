"""A snapshot as a folder that `datasets.load_from_disk` of Hugging Face reads: a dataset for every table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa

from mnemodex.pipelines.exports.rows import read_table, table_schema
from mnemodex.pipelines.exports.target import replacing
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.pipelines.exports.rows import Json
    from mnemodex.retrievers.snapshot import Snapshot


def write_datasets(snapshot: Snapshot, folder: Path) -> dict[str, int]:
    """Write a `DatasetDict` with a dataset for each table that has rows, named as in SQL; return the rows of each.

    A dataset has files of Arrow's stream format, mostly one for every partition, which `datasets` maps into memory.

    Raises:
        ExportError: the folder cannot be written.
    """
    with replacing(folder) as unfinished:
        unfinished.mkdir()
        rows = {}
        for view, table in snapshot.views.items():
            if len(snapshot.manifest.tables[table].partitions):
                rows[view] = _write_table(snapshot, table, unfinished / view)
        (unfinished / "dataset_dict.json").write_text(json.dumps({"splits": list(rows)}))
    return rows


def _write_table(snapshot: Snapshot, table: str, folder: Path) -> int:
    folder.mkdir()
    schema = pa.schema([column.with_type(_plain(column.type)) for column in table_schema(snapshot, table)])
    rows, names = 0, []
    for number, batches in enumerate(read_table(snapshot, table)):
        names.append(f"data-{number:05d}.arrow")
        with pa.OSFile(str(folder / names[-1]), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            for batch in batches:
                rows += batch.num_rows
                writer.write_batch(batch.cast(schema))
    features = {column.name: _feature(column.type) for column in schema}
    info: Json = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    state: Json = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": fingerprint(snapshot.manifest.created, snapshot.name, table),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "state.json").write_text(json.dumps(state))
    return rows


def _plain(dtype: pa.DataType) -> pa.DataType:
    # `datasets` has no binary columns of a fixed size.
    return pa.binary() if pa.types.is_fixed_size_binary(dtype) else dtype


def _feature(dtype: pa.DataType) -> Json:
    """Return the type of a column as a feature of `datasets`."""
    if pa.types.is_fixed_size_list(dtype):
        return {"feature": _feature(dtype.value_type), "length": dtype.list_size, "_type": "Sequence"}
    if pa.types.is_list(dtype):
        return {"feature": _feature(dtype.value_type), "_type": "Sequence"}
    names = {pa.float32(): "float32", pa.float64(): "float64", pa.date32(): "date32"}
    return {"dtype": names.get(dtype, str(dtype)), "_type": "Value"}
