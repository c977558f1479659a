from __future__ import annotations

import gzip

import pytest
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import SourceError


def write(root, **files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_every_file_is_one_document_sorted_by_its_path(tmp_path):
    files = {
        "b.txt": "bee",
        "a/z.rst": "Zed\n===",
        "a.md": "no heading",
        ".hidden.txt": "x",
        ".git/c.txt": "x",
        "d.log": "x",
    }
    write(tmp_path, **files)
    assert items(opened(tmp_path)) == [
        Record("a.md", "a", "no heading", source="a.md"),
        Record("a/z.rst", "z", "Zed\n===", source="a/z.rst"),
        Record("b.txt", "b", "bee", source="b.txt"),
    ]


def test_one_file_is_one_document(tmp_path):
    write(tmp_path, **{"notes.txt": "hello\n", "other.txt": "x"})
    assert items(opened(tmp_path / "notes.txt")) == [Record("notes.txt", "notes", "hello\n", source="notes.txt")]


def test_compressed_texts_are_read_and_titled_like_others(tmp_path):
    pack = {"a.txt.gz": gzip.compress(b"one"), "b.MD.GZ": gzip.compress(b"# Two\n"), "c.md.gz": gzip.compress(b"three")}
    write(tmp_path, **pack)
    assert [(item.key, item.title) for item in items(opened(tmp_path))] == [
        ("a.txt.gz", "a"), ("b.MD.GZ", "Two"), ("c.md.gz", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Title\n\ntext", "Title"),
        ("intro\r\n\r\n#   Title  \r\ntext", "Title"),
        ("## Section\n# Title ##\n# Second", "Title"),
        ("# About C#\n", "About C#"),
        ("   # Indented\n", "Indented"),
        ("    # code\n", "stem"),
        ("#hashtag\n#\n# \n", "stem"),
        ("```sh\n# a comment\n```\n# Title\n", "Title"),
        ("~~~\n# a comment\n```\n# another\n~~~\n# Title", "Title"),
        ("````\n```\n# a comment\n```\n````\n# Title", "Title"),
        ("```\n# never closed\n", "stem"),
        ("```inline``` code\n# Title\n", "Title"),
        ("", "stem"),
    ],
)
def test_a_markdown_title_is_its_first_heading_outside_of_code(tmp_path, text, title):
    write(tmp_path, **{"stem.md": text, "stem.txt": text})
    markdown, plain = items(opened(tmp_path))
    assert (markdown.title, markdown.text) == (title, text)
    assert (plain.title, plain.text) == ("stem", text)


def test_a_byte_order_mark_is_no_text_and_line_ends_and_nul_stay(tmp_path):
    write(tmp_path, **{"a.txt": b"\xef\xbb\xbfone\r\ntwo\0\n"})
    assert items(opened(tmp_path))[0].text == "one\r\ntwo\0\n"


def test_a_file_that_is_not_utf8_is_a_bad_row_with_the_line_of_the_byte(tmp_path):
    write(tmp_path, **{"a.txt": b"fine\nalso fine\ncaf\xe9\n", "b.txt": "good"})
    bad, good = items(opened(tmp_path))
    assert isinstance(bad, BadRow)
    assert (bad.source, bad.line) == ("a.txt", 3)
    assert "0xe9" in bad.reason
    assert good.key == "b.txt"


def test_an_empty_file_is_a_document_without_text(tmp_path):
    write(tmp_path, **{"a.txt": ""})
    assert items(opened(tmp_path)) == [Record("a.txt", "a", "", source="a.txt")]


def test_a_file_name_that_is_not_unicode_is_refused(tmp_path):
    try:
        (tmp_path / "caf\udce9.txt").write_text("x")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    with pytest.raises(SourceError, match="rename the file"):
        opened(tmp_path)


def test_too_long_a_document_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.sources.files.MAX_BYTES", 1 << 20)
    write(tmp_path, **{"long.txt": b"x" * (1 << 21)})
    with pytest.raises(SourceError, match=r"long\.txt: a document of more than 1 MiB"):
        opened(tmp_path).plan()


def test_front_matter_is_metadata_and_its_title_the_title(tmp_path):
    matter = "---\ntitle: Жуки\ntags: [a, b]\ndate: 2024-05-01\nrating: .nan\n1: one\n---\n# Heading\ntext"
    write(tmp_path, **{"a.md": f"\ufeff{matter}", "b.txt": matter, "c.md": "---\r\nlang: en\r\n...\r\n# Heading\r\n"})
    first, plain, third = items(opened(tmp_path))
    metadata = {"tags": ["a", "b"], "date": "2024-05-01", "rating": None, "1": "one"}
    assert first == Record("a.md", "Жуки", "# Heading\ntext", metadata, "a.md")
    assert plain.text == matter
    assert (third.title, third.text, third.metadata) == ("Heading", "# Heading\r\n", {"lang": "en"})


@pytest.mark.parametrize("text", ["---\njust a line\n---\ntext", "---\n\n---\n", "--- \nopen", "----\na: b\n---\n"])
def test_lines_of_dashes_without_fields_between_them_are_text(tmp_path, text):
    write(tmp_path, **{"a.md": text})
    (found,) = items(opened(tmp_path))
    assert (found.text, found.metadata) == (text, {})


@pytest.mark.parametrize("matter", ["a: b: c", "a: [1", "a: &x [1]\nb: *x", "- a\nb: c", "a: !!python/object:os.x {}"])
def test_front_matter_that_is_no_yaml_is_a_bad_row(tmp_path, matter):
    write(tmp_path, **{"a.md": f"---\n{matter}\n---\ntext", "b.md": "good"})
    bad, good = items(opened(tmp_path))
    assert isinstance(bad, BadRow)
    assert "has front matter that is not YAML" in bad.reason
    assert good.text == "good"


def test_source_code_has_its_language(tmp_path):
    write(tmp_path, **{"a.py": "# x\n", "src/b.RS": "fn main() {}", "c.md": "# C", "d.cpp": b"\xff"})
    first, text, bad, rust = items(opened(tmp_path))
    assert first == Record("a.py", "a.py", "# x\n", {"language": "python"}, "a.py")
    assert (rust.key, rust.title, rust.metadata) == ("src/b.RS", "b.RS", {"language": "rust"})
    assert text.metadata == {}
    assert isinstance(bad, BadRow)
    (said,) = items(opened(tmp_path / "c.md", format="code"))
    assert (said.title, said.text, said.metadata) == ("c.md", "# C", {})


def test_fields_have_no_meaning_for_text(tmp_path):
    write(tmp_path, **{"a.txt": "x"})
    with pytest.raises(SourceError, match=r"source\.fields: \.txt \.rst \.md \.markdown files have no fields"):
        opened(tmp_path, fields={"text": "body"})


def test_a_changed_file_changes_its_split_only(tmp_path):
    for number in range(200):
        write(tmp_path, **{f"{number:03}.txt": f"document {number}"})
    old = opened(tmp_path, rows=16).plan()
    write(tmp_path, **{"100.txt": "DOCUMENT 100"})
    new = opened(tmp_path, rows=16).plan()
    assert [split.label for split in old] == [split.label for split in new]
    assert sum(before != after for before, after in zip(old, new, strict=True)) == 1


def test_labels_are_safe_and_unique(tmp_path):
    for number in range(100):
        write(tmp_path, **{f"Ordner ü/{'lang' * 20}{number}.txt": "x"})
    labels = [split.label for split in opened(tmp_path, rows=4).plan()]
    assert len(set(labels)) == len(labels) > 10
    assert all(len(label) <= 54 and label.isascii() and "/" not in label and " " not in label for label in labels)
