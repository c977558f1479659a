from __future__ import annotations

import json

import pyarrow as pa
import pytest
from sources import items, opened

from mnemodex.pipelines.sources.arrow import ArrowSource
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import SourceError


def write(path, rows, *, batch=1000, new=pa.ipc.new_stream):
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, new(file, rows.schema) as writer:
        for part in rows.to_batches(max_chunksize=batch):
            writer.write_batch(part)
    return path


def table(first, count, **columns):
    numbers = range(first, first + count)
    return pa.table({"id": [f"d{n}" for n in numbers], "text": [f"жук {n}" for n in numbers]} | columns)


def saved(folder, *shards, **state):
    """A data set as `save_to_disk` writes it."""
    for number, shard in enumerate(shards):
        write(folder / f"data-{number:05}-of-{len(shards):05}.arrow", shard, batch=3)
    names = [{"filename": f"data-{n:05}-of-{len(shards):05}.arrow"} for n in range(len(shards))]
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_fingerprint": "f", "_split": None, **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


def test_a_saved_data_set_is_read_without_its_library(tmp_path):
    folder = saved(tmp_path / "set", table(0, 5), table(5, 4))
    write(folder / "cache-1.arrow", table(0, 2))
    (folder / "README.md").write_text("# A card")
    source = opened(folder)
    assert type(source) is ArrowSource
    found = items(source)
    assert [item.key for item in found] == [f"d{number}" for number in range(9)]
    assert found[5] == Record("d5", "", "жук 5", {}, "data-00001-of-00002.arrow", 1)
    assert source.skipped == "4 files: .json 2, .arrow 1, .md 1"
    assert len(items(opened(folder, format="mixed"))) == 10


def test_all_splits_of_a_saved_data_set_are_read_or_one_of_them(tmp_path):
    saved(tmp_path / "train", table(0, 5))
    saved(tmp_path / "test", table(5, 2))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert {item.source.split("/")[0] for item in items(opened(tmp_path))} == {"train", "test"}
    assert len(items(opened(tmp_path / "test"))) == 2


def test_a_saved_data_set_with_lost_files_or_an_order_of_its_own_is_refused(tmp_path):
    folder = saved(tmp_path / "set", table(0, 5), table(5, 4))
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(SourceError, match=r"state\.json: names data-00001-of-00002\.arrow, which is not there"):
        opened(folder)
    ordered = saved(tmp_path / "ordered", table(0, 2), _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(SourceError, match="flatten_indices"):
        opened(ordered)


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("batch", [7, 700, 5000])
@pytest.mark.parametrize("rows", [3, 2000])
def test_splits_of_any_size_hold_the_rows_of_the_table(tmp_path, new, batch, rows):
    kinds = pa.array([f"k{n % 5}" for n in range(1000)]).dictionary_encode()
    path = write(tmp_path / "c.arrow", table(0, 1000, kind=kinds), batch=batch, new=new)
    source = opened(path, rows=rows)
    splits = source.plan()
    assert all(piece.rows <= rows for split in splits for piece in split.pieces)
    read = [(item.line, item.metadata["kind"]) for split in splits for item in source.read(split)]
    assert read == [(n + 1, f"k{n % 5}") for n in range(1000)]
    assert {item.line for split in splits[::-1] for item in source.read(split)} == set(range(1, 1001))


def test_rows_at_the_end_change_only_the_last_splits(tmp_path):
    def made(count):
        # Batches of their own: of slices the writer pads with the rows that follow.
        rows = pa.concat_tables([table(first, 4) for first in range(0, count, 4)])
        return opened(write(tmp_path / "c.arrow", rows), rows=8).plan()

    old, new = made(40), made(44)
    assert [split.fingerprint() for split in new][: len(old) - 1] == [split.fingerprint() for split in old][:-1]


@pytest.mark.parametrize("data", [b"", b"no arrow at all", b"ARROW1\0\0"])
def test_a_file_that_is_no_arrow_is_named(tmp_path, data):
    (tmp_path / "c.arrow").write_bytes(data)
    with pytest.raises(SourceError, match=r"c\.arrow: cannot be read as Arrow"):
        opened(tmp_path / "c.arrow").plan()


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = write(tmp_path / "c.arrow", table(0, 100), batch=10)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SourceError, match=r"c\.arrow: cannot be read as Arrow"):
        opened(path).plan()


def test_a_file_that_changed_after_the_plan_is_refused(tmp_path):
    path = write(tmp_path / "c.arrow", table(0, 100), batch=10)
    plan = opened(path).plan()
    path.unlink()
    write(path, table(1, 100), batch=10)
    with pytest.raises(SourceError, match="has changed while the build read it"):
        [list(opened(path).read(split)) for split in plan]
