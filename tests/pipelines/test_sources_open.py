from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
from sources import items, opened

from mnemodex.pipelines.sources import FORMATS
from mnemodex.pipelines.sources.delimited import DelimitedSource
from mnemodex.pipelines.sources.json_array import JsonSource
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.pipelines.sources.mixed import MixedSource
from mnemodex.pipelines.sources.parquet import ParquetSource
from mnemodex.pipelines.sources.text import TextSource
from mnemodex.schemas.errors import RecipeError, SourceError


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"id": 1, "text": "x"}\n')
    return root


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jsonl", JsonlSource), ("a.ndjson.gz", JsonlSource), ("A.TXT", TextSource), ("a.markdown", TextSource),
     ("a.rst", TextSource), ("a.json", JsonSource), ("a.json.zst", JsonSource), ("a.csv", DelimitedSource),
     ("a.tsv.gz", DelimitedSource), ("a.Parquet", ParquetSource)],
)  # fmt: skip
def test_a_file_name_tells_the_format(tmp_path, name, kind):
    assert type(opened(fill(tmp_path, name) / name)) is kind


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("a.jsonl", "sub/b.jsonl.gz"), JsonlSource),
        (("a.jsonl", "README.md", "LICENSE"), JsonlSource),
        (("corpus.jsonl", "queries.jsonl", "a.txt"), JsonlSource),
        (("README.md",), TextSource),
        (("a.txt", "package.json"), TextSource),
        (("a.jsonl", "README.md", "convert.py"), JsonlSource),
        (("a.csv", "sub/b.tsv.gz"), DelimitedSource),
        (("a.parquet", "README.md"), ParquetSource),
        (("a.txt", "b.py"), MixedSource),
    ],
)
def test_a_folder_content_tells_the_format(tmp_path, names, kind):
    assert type(opened(fill(tmp_path, *names))) is kind


def test_a_folder_of_two_formats_needs_the_format_said(tmp_path):
    fill(tmp_path, "a.jsonl", "b.md", "README.md")
    with pytest.raises(SourceError, match=r"formats \(jsonl: a\.jsonl, text: README\.md\).*source\.format, or `mixed`"):
        opened(tmp_path)
    assert opened(tmp_path, format="jsonl").paths == ("a.jsonl",)
    assert opened(tmp_path, format="text").paths == ("README.md", "b.md")


def test_json_lines_and_texts_of_one_folder_are_read_together_where_that_is_said(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"name": "row", "text": "x"}\n{"name": "other", "text": "y"}\n')
    (tmp_path / "b.md").write_text("# Title\nz")
    fill(tmp_path, "c.xyz")
    found = items(opened(tmp_path, format="mixed", fields={"key": "name"}))
    assert [(item.key, item.title, item.source) for item in found] == [
        ("row", "", "a.jsonl"),
        ("other", "", "a.jsonl"),
        ("b.md", "Title", "b.md"),
    ]


def test_a_mixed_folder_is_read_file_by_file_and_only_lists_of_its_json(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "row", "text": "x"}\n')
    (tmp_path / "b.csv").write_text("id,text\ncell,y\n")
    (tmp_path / "c.json").write_text('[{"text": "z"}]')
    (tmp_path / "d.json").write_text('{"name": "settings"}')
    (tmp_path / "e.py").write_text("x = 1")
    fill(tmp_path, "f.epub")
    source = opened(tmp_path, format="mixed")
    assert [item.key for item in items(source)] == ["row", "cell", "c.json:0", "e.py"]
    assert source.skipped == "2 files: .epub 1, .json 1"


def test_of_mixed_files_only_json_lines_are_planned_in_ranges(tmp_path):
    fill(tmp_path, "a.jsonl", "b.txt")
    spans = [(one.path, one.start) for one in opened(tmp_path, size=8, format="mixed").stretches(8)]
    assert spans == [("a.jsonl", 0), ("a.jsonl", 8), ("a.jsonl", 16), ("b.txt", 0)]


def test_a_said_format_goes_before_the_name(tmp_path):
    path = fill(tmp_path, "corpus.data") / "corpus.data"
    source = opened(path, format="jsonl")
    assert [item.key for item in items(source)] == ["1"]


@pytest.mark.parametrize("name", ["a.pq", "a.jsonl.xz", "jsonl", "a.parquet.gz"])
def test_an_unknown_file_lists_the_known_formats(tmp_path, name):
    with pytest.raises(SourceError) as caught:
        opened(fill(tmp_path, name) / name)
    assert name in str(caught.value)
    assert all(known in str(caught.value) for known in (*FORMATS, ".jsonl.gz", ".md", "source.format"))


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere: no such file or folder; correct that, or source\.path"):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("x" * 20_000, "File name too long; correct that, or source.path"),
        ("s3://bucket/corpus.jsonl", "s3: addresses are not read; download the files"),
        ("https://host/corpus.jsonl", "https: addresses are not read"),
        ("*.jsonl", "no file matches the pattern; correct source.path"),
        ("part-[0-9].jsonl", "no file matches the pattern"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_path_that_can_be_none_says_what_it_is(tmp_path, path, reason, absolute):
    # A recipe's paths are absolute, and one slash of an address is lost on the way.
    with pytest.raises(SourceError, match=re.escape(reason)) as caught:
        opened(tmp_path / path if absolute else Path(path))
    assert len(str(caught.value)) < 1000


def test_a_file_whose_name_looks_like_a_pattern_is_read(tmp_path):
    assert items(opened(fill(tmp_path, "a[1]*.jsonl") / "a[1]*.jsonl"))[0].text == "x"


def test_files_that_are_no_documents_are_counted_by_their_endings(tmp_path):
    fill(tmp_path, "a.md", "b.txt.gz", "c.xls", "d.XLS", "sub/e.xls.gz", "f.epub", "g.odt", "Makefile", ".hidden.xls")
    assert opened(tmp_path).skipped == "6 files: .xls 2, .epub 1, .odt 1, .xls.gz 1, without an ending 1"
    (tmp_path / "one").mkdir()
    fill(tmp_path / "one", "corpus.jsonl", "queries.jsonl")
    assert opened(tmp_path / "one").skipped == "1 file: .jsonl 1"
    assert opened(tmp_path / "one" / "corpus.jsonl").skipped == ""
    assert opened(fill(tmp_path / "two", "a.txt")).skipped == ""


def test_linked_folders_are_followed_once_and_never_in_a_loop(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    fill(root, "z/a.txt", "b.txt")
    fill(other, "c.txt", "deep/d.txt")
    (root / "a-link").symlink_to(other)
    (root / "same").symlink_to(root / "z")
    (root / "z" / "up").symlink_to(root)
    (other / "back").symlink_to(root)
    (other / "deep" / "again").symlink_to(other)
    assert opened(root).paths == ("a-link/c.txt", "a-link/deep/d.txt", "b.txt", "z/a.txt")


def test_a_folder_without_known_files_is_named(tmp_path):
    fill(tmp_path, "a.epub", ".hidden.jsonl", ".git/a.md", "list.json")
    with pytest.raises(SourceError, match=r"no file of a known format .*: 2 files: \.epub 1, \.json 1"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="no file of the format jsonl"):
        opened(tmp_path, format="jsonl")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="unknown source format 'xml'; known: jsonl, text, json, csv, parquet"):
        opened(fill(tmp_path, "a.jsonl"), format="xml")


def test_a_path_that_is_there_and_is_no_file_says_what_it_is(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"link: a link to nothing; correct that, or source\.path"):
        opened(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(SourceError, match=r"pipe\.jsonl: neither a file nor a folder; correct that"):
        opened(tmp_path / "pipe.jsonl")

    def locked(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", locked)
    with pytest.raises(SourceError, match=r"/a\.jsonl: Permission denied; correct that, or source\.path"):
        opened("/a.jsonl")


def test_a_folder_that_vanishes_while_it_is_listed_is_named(tmp_path, monkeypatch):
    folder = fill(tmp_path, "a.jsonl", "sub/b.jsonl")
    walk = os.walk

    def vanishing(begin, **options):
        for found in walk(begin, **options):
            shutil.rmtree(folder / "sub", ignore_errors=True)
            yield found
            yield (str(folder / "sub"), [], ["b.jsonl"])

    monkeypatch.setattr(os, "walk", vanishing)
    with pytest.raises(SourceError, match=r"sub: cannot be listed \(No such file or directory\); check the path"):
        opened(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_rights_are_named(tmp_path):
    path = fill(tmp_path, "a.jsonl", "sub/b.jsonl") / "a.jsonl"
    path.chmod(0)
    with pytest.raises(SourceError, match=r"a\.jsonl: cannot be read"):
        opened(path).plan()
    (tmp_path / "sub").chmod(0)
    with pytest.raises(SourceError, match="sub: cannot be listed"):
        opened(tmp_path)
