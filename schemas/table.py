"""What a table is: its name, its rows, and which of its columns are ids."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, order=True)
class TableKey:
    """A table by name.

    Attributes:
        family: what its rows are: `documents`, `embeddings`.
        name: the recipe's entry that it belongs to; empty for a table of which a memory has one.
        part: what it holds of that entry, where there are several tables.
        draft: the rows before a later step drops some; a draft lies in the folder of its table and is no view.
        scratch: a draft that is kept below `work/` only, and in no snapshot.
    """

    family: str
    name: str = ""
    part: str = ""
    draft: bool = False
    scratch: bool = False

    @property
    def label(self) -> str:
        """What people and the manifest call it: `embeddings/minilm`."""
        return "/".join(word for word in (self.family, self.name, self.part) if word)

    @property
    def path(self) -> str:
        """Its folder below the memory: `tables/embeddings/minilm`."""
        return f"{'work' if self.scratch else 'tables'}/{self.label}"

    @property
    def view(self) -> str:
        """Its SQL view: `embeddings_minilm`."""
        return self.label.replace("/", "_")

    @classmethod
    def parse(cls, label: str) -> TableKey:
        """Return the key of a label."""
        family, name, part = [*label.split("/", 2), "", ""][:3]
        return cls(family, name, part)


@dataclass(frozen=True)
class TableSpec:
    """What the rows of a table are.

    Attributes:
        schema: the Arrow schema of every partition. A list of float32 or a binary column without a size holds
            vectors, whose size a model decides.
        id_column: the column that is unique in the table, or None.
        parents: columns that hold the id of another table's row, and the label of that table. In a label, `*` means
            the table's own name.
        text_columns: columns of running text.
        row_group_rows: rows of a Parquet row group; small where single rows are fetched by position.
        check: `module:function` that yields what is wrong with a partition besides its ids; see `verify`.
        extensible: whether a memory's own columns may follow, whose values may be missing.
        id_decides: whether rows that one step made are equal where their ids are.
    """

    schema: pa.Schema
    id_column: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()
    row_group_rows: int = 4096
    check: str = ""
    extensible: bool = False
    id_decides: bool = True

    def extended(self, types: Mapping[str, pa.DataType]) -> TableSpec:
        """Return the table with further columns, whose values may be missing."""
        return replace(self, schema=pa.schema([*self.schema, *(pa.field(*column) for column in types.items())]))

    def sized(self, dimension: int) -> TableSpec:
        """Return the table whose vectors have so many numbers; binary columns hold them as float16."""
        fields = [column.with_type(_sized(column.type, dimension)) for column in self.schema]
        return replace(self, schema=pa.schema(fields))

    def holds(self, schema: pa.Schema) -> bool:
        """Whether rows of a schema are rows of this table."""
        more = len(schema) - len(self.schema)
        return (more == 0 or (more > 0 and self.extensible)) and all(
            here.name == there.name and _is_kind(here.type, there.type)
            for here, there in zip(schema, self.schema, strict=False)
        )


def _sized(declared: pa.DataType, dimension: int) -> pa.DataType:
    if pa.types.is_list(declared) and pa.types.is_float32(declared.value_type):
        return pa.list_(pa.float32(), dimension)
    return pa.binary(2 * dimension) if pa.types.is_binary(declared) else declared


def _is_kind(found: pa.DataType, declared: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(found) and pa.types.is_list(declared):
        return bool(found.value_type == declared.value_type)
    if pa.types.is_fixed_size_binary(found) and pa.types.is_binary(declared):
        return True
    return bool(found == declared)


def row_schema(*, missing: tuple[str, ...] = (), **fields: pa.DataType) -> pa.Schema:
    """Return a schema; only the columns `missing` may lack values."""
    return pa.schema([pa.field(name, dtype, nullable=name in missing) for name, dtype in fields.items()])
