from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources import items

from mnemodex.pipelines.initial import write_recipe
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.recipe import load_recipe

ROWS = [{"uid": f"u{n}", "headline": f"H{n}", "body": f"text {n}", "year": n} for n in range(5)]
NAMED = {"key": "uid", "title": "headline"}


def write(path):
    if path.suffix == ".csv":
        path.write_text("uid,headline,body,year\n" + "".join(",".join(map(str, row.values())) + "\n" for row in ROWS))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        path.write_text(json.dumps(ROWS))
    return path


@pytest.mark.parametrize("name", ["c.csv", "c.parquet", "c.json"])
def test_init_finds_the_fields_of_rows_of_any_format(tmp_path, name):
    said = write_recipe(write(tmp_path / name), tmp_path / "recipe.yaml", fields={})
    assert said[0] == "its fields: uid, headline, body, year"
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.source.fields == NAMED
    assert recipe.source.metadata == {"year": "string" if name == "c.csv" else "int"}
    found = items(open_source(recipe.source))
    assert [(item.key, item.title, item.text) for item in found if isinstance(item, Record)] == [
        (row["uid"], row["headline"], row["body"]) for row in ROWS
    ]


def test_init_leaves_rows_of_a_list_their_numbers(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps([{"title": "A", "text": "a"}, {"title": "B", "text": "b"}]))
    write_recipe(tmp_path / "c.json", tmp_path / "recipe.yaml", fields={})
    assert load_recipe(tmp_path / "recipe.yaml").source.fields == {}
