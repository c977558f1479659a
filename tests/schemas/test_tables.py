from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS as CHUNKS_KEY
from mnemodex.schemas.tables import DOCUMENTS, ERRORS, TableKey, TableSpec, spec_of, table_spec

CHUNKS = spec_of(CHUNKS_KEY)


def embeddings(name, dimension):
    return spec_of(TableKey("embeddings", name)).sized(dimension)


@pytest.fixture(scope="module")
def partition(tmp_path_factory):
    """2,500 rows in uneven batches: three row groups of 1,024 at most."""
    path = tmp_path_factory.mktemp("tables") / "data.parquet"
    batches = [rows(start, min(start + 300, 2500)) for start in range(0, 2500, 300)]
    assert parquet.write(path, CHUNKS, iter(batches)) == 2500
    return path


def rows(start, end):
    count = np.arange(start, end)
    text = [f"text {n}" for n in count]
    columns = [count, count * 2, count, count, count + 1, text, text, count]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, CHUNKS.schema, strict=True)]
    return pa.record_batch(arrays, schema=CHUNKS.schema)


def test_a_partition_reads_back_whole_and_by_columns(partition):
    table = parquet.read(partition)
    assert table.schema.equals(CHUNKS.schema)
    assert table["chunk_id"].to_pylist() == list(range(2500))
    assert parquet.read(partition, columns=["text"]).column_names == ["text"]
    batches = list(parquet.read_batches(partition, columns=["chunk_id"], rows=700))
    assert [batch.num_rows for batch in batches] == [700, 700, 700, 400]
    assert pa.Table.from_batches(batches)["chunk_id"].to_pylist() == list(range(2500))


def test_row_groups_are_as_small_as_the_table_says(partition):
    with pq.ParquetFile(partition) as file:
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
        assert max(sizes) <= CHUNKS.row_group_rows
        assert sum(sizes) == 2500
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("table", [spec_of(DOCUMENTS), CHUNKS, spec_of(ERRORS), embeddings("m", 3)])
def test_a_partition_without_rows_has_its_schema(tmp_path, table):
    path = tmp_path / "data.parquet"
    assert parquet.write(path, table, iter(())) == 0
    assert parquet.read(path).schema.equals(table.schema)


def test_vectors_are_split_by_bytes_and_come_back_exactly(tmp_path):
    table = embeddings("m", 4)
    vectors = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    path = tmp_path / "data.parquet"
    parquet.write(path, table, [pa.record_batch([pa.array(np.arange(10)), column], schema=table.schema)])
    again = parquet.read(path)["vector"].combine_chunks().flatten().to_numpy().reshape(10, 4)
    assert np.array_equal(again, vectors)
    with pq.ParquetFile(path) as file:
        assert "BYTE_STREAM_SPLIT" in file.metadata.row_group(0).column(1).encodings


def test_a_flipped_page_is_not_read(partition, tmp_path):
    data = bytearray(partition.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.parquet"
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"(?i)flipped.parquet: .*(crc|checksum|corrupt)"):
        parquet.read(path)


@pytest.mark.parametrize(
    ("key", "path", "view", "label"),
    [
        (TableKey("chunks"), "tables/chunks", "chunks", "chunks"),
        (TableKey("embeddings", "mini-lm"), "tables/embeddings/mini-lm", "embeddings_mini-lm", "embeddings/mini-lm"),
        (TableKey("embeddings", "m", "facts"), "tables/embeddings/m/facts", "embeddings_m_facts", "embeddings/m/facts"),
        (TableKey("documents", draft=True), "tables/documents", "documents", "documents"),
    ],
)  # fmt: skip
def test_a_key_says_where_a_table_is_and_what_it_is_called(key, path, view, label):
    assert (key.path, key.view, key.label) == (path, view, label)
    assert TableKey.parse(label) == TableKey(key.family, key.name, key.part)


def test_vectors_take_the_size_that_a_model_decides():
    keys = spec_of(TableKey("lm_states", "any"))
    assert keys.sized(32).schema.field("key").type == pa.binary(64)
    assert embeddings("m", 3).schema.field("vector").type == pa.list_(pa.float32(), 3)
    assert spec_of(TableKey("ngram_pairs", "t")).sized(3).schema.field("tokens").type == pa.list_(pa.int32())
    for spec in (keys, spec_of(TableKey("embeddings", "m")), CHUNKS):
        assert spec.holds(spec.schema) and spec.holds(spec.sized(5).schema)
    assert not CHUNKS.holds(spec_of(DOCUMENTS).schema)
    assert not CHUNKS.holds(CHUNKS.schema.remove(0))


def test_a_table_of_a_plug_in_is_none_of_ours():
    assert table_spec(TableKey("counts")) is None
    assert table_spec(TableKey("embeddings", "m", "other")) is None
    assert TableSpec(pa.schema([("n", pa.int64())])).id_column is None


@pytest.mark.parametrize("key", [CHUNKS_KEY, TableKey("embeddings", "m", "facts"), TableKey("lm_states", "m")])
def test_parents_are_columns_of_the_table(key):
    spec = spec_of(key)
    assert spec.parents and set(spec.parents) <= set(spec.schema.names)
