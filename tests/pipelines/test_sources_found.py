from __future__ import annotations

import os
from pathlib import Path

import pytest
from sources import items, opened

import mnemodex
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.pipelines.sources.mixed import MixedSource
from mnemodex.pipelines.sources.text import TextSource
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.source_sections import Source as Settings


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f'{{"id": "{name}", "text": "x"}}\n')
    return root


def several(*paths, **settings):
    return open_source(Settings(path=tuple(map(str, paths)), **settings))


@pytest.mark.parametrize(
    ("pattern", "paths", "kind"),
    [
        ("*.md", ("a.md", "b.md"), TextSource),
        ("**/*.md", ("a.md", "b.md", "sub/deep/d.md"), TextSource),
        ("sub/*.jsonl", ("c.jsonl",), JsonlSource),
        ("[ab].*", ("a.md", "b.md"), TextSource),
        ("*", ("a.md", "b.md", "sub/c.jsonl", "sub/deep/d.md"), MixedSource),
        ("**", ("a.md", "b.md", "sub/c.jsonl", "sub/deep/d.md"), MixedSource),
        ("su?", ("sub/c.jsonl", "sub/deep/d.md"), MixedSource),
    ],
)
def test_a_pattern_names_files_below_the_folder_before_its_first_wildcard(tmp_path, pattern, paths, kind):
    fill(tmp_path, "a.md", "b.md", "sub/c.jsonl", "sub/deep/d.md", ".hidden.md", ".git/e.md")
    source = opened(tmp_path / pattern)
    assert (source.paths, type(source)) == (paths, kind)
    assert len(items(source)) == len(paths)


def test_a_pattern_is_relative_to_the_recipe(tmp_path):
    fill(tmp_path, "data/a.jsonl", "data/b.jsonl")
    recipe = parse_recipe({"source": {"path": "data/*.jsonl"}}, name="recipe", base=tmp_path)
    assert [item.key for item in items(open_source(recipe.source))] == ["data/a.jsonl", "data/b.jsonl"]


def test_what_a_pattern_matches_and_is_not_read_is_counted(tmp_path):
    fill(tmp_path, "a.md", "b.epub", "c.json")
    assert opened(tmp_path / "*").skipped == "2 files: .epub 1, .json 1"
    with pytest.raises(SourceError, match=r"\*\.epub: there is no file of a known format .*: 1 file: \.epub 1"):
        opened(tmp_path / "*.epub")
    assert [item.key for item in items(opened(tmp_path / "*.epub", format="jsonl"))] == ["b.epub"]


def test_a_list_of_paths_is_one_source_from_the_folder_that_holds_them_all(tmp_path):
    fill(tmp_path, "one/a.jsonl", "two/b.md", "two/deep/c.md", "d.txt", "e.txt")
    source = several(tmp_path / "one" / "a.jsonl", tmp_path / "two", tmp_path / "d*", tmp_path / "d.txt")
    assert source.paths == ("d.txt", "one/a.jsonl", "two/b.md", "two/deep/c.md")
    assert [item.key for item in items(source)] == ["d.txt", "one/a.jsonl", "two/b.md", "two/deep/c.md"]
    assert several(tmp_path / "two" / "b.md").paths == ("b.md",)


def test_a_list_names_the_path_that_is_not_there(tmp_path):
    fill(tmp_path, "a.md")
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        several(tmp_path / "a.md", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="path"):
        several()


def test_paths_of_a_list_are_relative_to_the_recipe_and_lists_of_json_number_their_rows_by_file(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('[{"text": "x"}, {"text": "y"}]')
    recipe = parse_recipe({"source": {"path": ["a.json", "b.json"]}}, name="recipe", base=tmp_path)
    assert recipe.source.path == (str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    found = [item.key for item in items(open_source(recipe.source))]
    assert found == ["a.json:0", "a.json:1", "b.json:0", "b.json:1"]


def test_a_memory_is_built_of_a_list_and_a_second_build_computes_nothing(tmp_path):
    fill(tmp_path, "one/a.jsonl", "two/b.md", "two/c.csv")
    recipe = {
        "memory": str(tmp_path / "memory"),
        "source": {"path": [str(tmp_path / "one"), str(tmp_path / "two" / "*.md")]},
        "indexes": {"words": {"type": "bm25"}},
    }
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    assert [key for (key,) in memory.sql("SELECT key FROM documents ORDER BY key").fetchall()] == [
        "one/a.jsonl",
        "two/b.md",
    ]
    assert not any(step.computed for step in mnemodex.build(recipe).steps)
    empty = {**recipe, "source": {"path": [str(tmp_path / "two" / "*.csv")]}}
    (tmp_path / "two" / "c.csv").write_text("id,text\n")
    with pytest.raises(SourceError, match=r"\*\.csv: no documents"):
        mnemodex.build(empty)


def test_a_file_that_is_there_is_no_pattern(tmp_path, monkeypatch):
    fill(tmp_path, "a[1].jsonl", "a1.jsonl")
    monkeypatch.chdir(tmp_path)
    assert opened(Path("a[1].jsonl")).paths == ("a[1].jsonl",)
    assert opened(Path("a?.jsonl")).paths == ("a1.jsonl",)
    assert os.fspath(opened(Path("a?.jsonl")).root) == "."
