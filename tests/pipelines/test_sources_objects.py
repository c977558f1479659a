"""Sources in an object store give what the same files give in a folder."""

from __future__ import annotations

import gzip
import shutil

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines.sources import open_source, reading
from mnemodex.pipelines.sources.found import find_files
from mnemodex.pipelines.sources.objects import open_object
from mnemodex.schemas.errors import ObjectStoreRefusedError, SourceError
from mnemodex.schemas.source_sections import Source
from mnemodex.schemas.store.store import Store


@pytest.fixture
def put(bucket, tmp_path):
    """Puts a folder of this machine into the bucket, below `corpus`."""
    files = Store(bucket).files

    def run(folder):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                files.put(f"corpus/{path.relative_to(folder).as_posix()}", path)
        return f"{bucket}/corpus"

    return run


def write(folder, name):
    """Write the records as a file of a format."""
    folder.mkdir(exist_ok=True)
    plain = [{"id": row["id"], "title": row["title"], "text": row["text"]} for row in records()]
    table = pa.Table.from_pylist(plain)
    if name == "notes.parquet":
        pq.write_table(table, folder / name, row_group_size=10)
    elif name == "notes.arrow":
        feather.write_feather(table, folder / name, compression="uncompressed", chunksize=10)
    elif name == "notes.csv":
        table.to_pandas().to_csv(folder / name, index=False)
    elif name == "texts":
        for row in plain:
            (folder / f"{row['id'].replace(' ', '-')}.txt").write_text(f"{row['title']}\n\n{row['text']}")
    else:
        write_jsonl(folder / "notes.jsonl", plain)
        if name == "notes.jsonl.gz":
            data = (folder / "notes.jsonl").read_bytes()
            (folder / name).write_bytes(gzip.compress(data))
            (folder / "notes.jsonl").unlink()


def read(path, **settings):
    source = open_source(Source(path=str(path), **settings))
    return [record for split in source.plan() for record in source.read(split)]


@pytest.mark.parametrize(
    "name", ["notes.jsonl", "notes.jsonl.gz", "notes.parquet", "notes.arrow", "notes.csv", "texts"]
)
def test_every_format_is_read_as_from_a_folder(tmp_path, put, name):
    write(tmp_path / "here", name)
    url = put(tmp_path / "here")
    local = read(tmp_path / "here")
    assert len(local) >= len(records()) - 1
    assert read(url) == read(f"{url}/") == local
    if name != "texts":
        assert read(f"{url}/{name}") == read(f"{url}/n*.*") == local


def test_a_large_file_is_read_in_ranges(tmp_path, put):
    write(tmp_path / "here", "notes.jsonl")
    url = put(tmp_path / "here")
    with open_object(f"{url}/notes.jsonl") as file:
        data = file.read()
        assert data == (tmp_path / "here" / "notes.jsonl").read_bytes()
        assert (file.seek(100), file.read(50)) == (100, data[100:150])
        assert (file.seek(-10, 2), file.read()) == (len(data) - 10, data[-10:])
    blocks = b"".join(reading.read_blocks(f"{url}/notes.jsonl", 1000))
    assert blocks == data[1000:]


def test_an_object_of_the_same_size_and_second_is_another(tmp_path, put, bucket):
    write(tmp_path / "notes", "notes.jsonl")
    source = open_source(Source(path=put(tmp_path / "notes")))
    (stretch,) = source.stretches(1 << 20)
    data = (tmp_path / "notes" / "notes.jsonl").read_bytes()
    Store(bucket).files.put("corpus/notes.jsonl", data.replace(b"Harbour", b"Harbor."))
    with pytest.raises(SourceError, match="has changed while the build read it"):
        list(source.scan(stretch))


def test_patterns_and_lists_name_objects(tmp_path, put):
    for name in ("a/one.jsonl", "a/b/two.jsonl", "c/three.jsonl", "a/.hidden.jsonl"):
        write_jsonl(tmp_path / "here" / name, records()[:1])
    url = put(tmp_path / "here")

    def found(*paths):
        place = find_files(paths[0] if len(paths) == 1 else paths)
        return sorted(f"{place.root}/{file}".removeprefix(url) for file in place.files)

    assert found(url) == ["/a/b/two.jsonl", "/a/one.jsonl", "/c/three.jsonl"]
    assert found(f"{url}/**/*.jsonl") == found(url)
    assert found(f"{url}/*/t*.jsonl") == ["/c/three.jsonl"]
    assert found(f"{url}/a/**") == ["/a/b/two.jsonl", "/a/one.jsonl"]
    assert found(f"{url}/c/three.jsonl", f"{url}/a/b") == ["/a/b/two.jsonl", "/c/three.jsonl"]
    with pytest.raises(SourceError, match="no object matches"):
        found(f"{url}/*.csv")
    with pytest.raises(SourceError, match="none below it"):
        found(f"{url}/nothing")
    with pytest.raises(SourceError, match="not of one bucket"):
        found(f"{url}/a", str(tmp_path / "here"))
    with pytest.raises(ObjectStoreRefusedError, match="no bucket 'nowhere'"):
        found("s3://nowhere/a")


def test_a_memory_of_objects_is_that_of_the_files(tmp_path, put, inline):
    write(tmp_path / "here", "notes.jsonl")
    url = put(tmp_path / "here")
    mnemodex.build(words_recipe(tmp_path / "here", tmp_path / "local"))
    shutil.rmtree(tmp_path / "here")
    there = words_recipe(tmp_path, f"{url}-memory") | {"source": {"path": f"{url}/notes.jsonl"}}
    assert mnemodex.build(there).committed
    inline.computed = 0
    assert (mnemodex.build(there).committed, inline.computed) == (False, 0)
    one, two = (
        mnemodex.open(path).sql("SELECT doc_id, key, text FROM documents ORDER BY 1").fetchall()
        for path in (tmp_path / "local", f"{url}-memory")
    )
    assert one == two


def test_rows_of_a_program_reach_the_workers_of_a_memory_in_an_object_store(bucket, inline):
    recipe = {"memory": f"{bucket}/memory", "indexes": {"words": {"type": "bm25"}}}
    mnemodex.build(recipe, source=records())
    assert mnemodex.open(f"{bucket}/memory").sql("SELECT count(*) FROM documents").fetchall() == [(len(records()),)]
    assert not [path for path in Store(bucket).files.list("memory/work") if "run-" in path]


def test_init_writes_a_recipe_for_objects(tmp_path, put, cli):
    write(tmp_path / "here", "notes.jsonl")
    url = put(tmp_path / "here")
    assert cli("init", f"{url}/notes.jsonl", "-o", tmp_path / "recipe.yaml").code == 0
    written = (tmp_path / "recipe.yaml").read_text()
    assert f'path: "{url}/notes.jsonl"' in written
    assert 'memory: "memories/notes"' in written
