"""Parquet: each row of a table is a document."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from typing_extensions import override

from mnemodex.pipelines.sources.reading import BLOCK, open_plain
from mnemodex.pipelines.sources.tables import Blocks, TableSource
from mnemodex.schemas.store.object_url import STARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_ROWS = 256
"""Rows of a batch: values of any length."""


class ParquetSource(TableSource):
    """Parquet files, whose blocks are row groups."""

    endings = (".parquet",)
    what = "Parquet"

    @override
    def _open(self, place: str) -> Blocks:
        return _RowGroups(place)


class _RowGroups(Blocks):
    """An open Parquet file; columns are read through buffers, however large a row group is."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._file = pq.ParquetFile(open_plain(place) if place.startswith(STARTS) else place, buffer_size=1 << 20)
        self._groups = [self._file.metadata.row_group(number) for number in range(self._file.num_row_groups)]
        self.schema: pa.Schema = self._file.schema_arrow
        self.sizes = [(group.num_rows, group.total_byte_size) for group in self._groups]

    @override
    def digest(self, number: int) -> str:
        digest = hashlib.sha256(self.schema.remove_metadata().serialize())
        with open_plain(self._place) as file:
            for column in map(self._groups[number].column, range(self._groups[number].num_columns)):
                begins = (column.dictionary_page_offset, column.data_page_offset)
                file.seek(min(begin for begin in begins if begin is not None))
                left = column.total_compressed_size
                while left > 0 and (data := file.read(min(left, BLOCK))):
                    digest.update(data)
                    left -= len(data)
        return digest.hexdigest()

    @override
    def batches(self, number: int) -> Iterator[pa.RecordBatch]:
        batches: Iterator[pa.RecordBatch] = self._file.iter_batches(_ROWS, row_groups=[number], use_threads=False)
        return batches
