from __future__ import annotations

import io
import zipfile

import pytest
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import MissingExtraError

PAGE = """<html lang="en"><head><title>Beetles | Site</title><meta charset="utf-8">
<meta name="author" content="Ann Lee"><meta property="article:published_time" content="2024-03-01"></head>
<body><nav><a href="/">Home</a></nav><article>
<h1>Beetles</h1><p>A first paragraph of the page, which is long enough to be no caption: жук ползёт.</p>
<h2>Wings</h2><p>A second paragraph with words that are the content of this page, and a few more of them.</p>
</article><footer>All rights reserved by nobody</footer></body></html>"""


def pdf(*texts, password=None):
    """A PDF with a page of each text, made of its objects."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = DictionaryObject(
        {NameObject(key): NameObject(value) for key, value in
         (("/Type", "/Font"), ("/Subtype", "/Type1"), ("/BaseFont", "/Helvetica"))}
    )  # fmt: skip
    for text in texts:
        page = writer.add_blank_page(300, 300)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(stream)
    writer.add_metadata({"/Title": "A paper", "/Author": "Ann Lee"})
    if password is not None:
        writer.encrypt(password)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word():
    """A Word document with a title, headings, a table and no properties."""
    from docx import Document

    document = Document()
    document.add_heading("Жуки", 1)
    document.add_paragraph("A paragraph.")
    document.add_table(2, 2)
    for row, texts in zip(document.tables[0].rows, (("a", "b"), ("c", "d\ne")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.add_heading("Wings", 2)
    document.core_properties.author = "Ann Lee"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def read(path, data):
    path.write_bytes(data)
    (found,) = items(opened(path))
    return found


def reason(path, data):
    found = read(path, data)
    assert isinstance(found, BadRow)
    assert (found.source, found.line) == (path.name, 1)
    return found.reason


@pytest.mark.parametrize(("name", "module"), [("a.html", "trafilatura"), ("a.pdf", "pypdf"), ("a.docx", "docx")])
def test_a_missing_library_is_one_error_that_names_the_extra(tmp_path, monkeypatch, name, module):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.md").write_text("x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"'{module}': pip install 'mnemodex\[documents\]'"):
        opened(tmp_path)
    assert opened(tmp_path, format="text").paths == ("b.md",)


class TestHtml:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("trafilatura")

    def test_a_page_is_its_main_text_as_markdown(self, tmp_path):
        found = read(tmp_path / "a.html", PAGE.encode())
        assert isinstance(found, Record)
        assert (found.key, found.title) == ("a.html", "Beetles")
        assert found.metadata == {"author": "Ann Lee", "date": "2024-03-01"}
        assert "# Beetles\n\nA first" in found.text and "\n\n## Wings\n\n" in found.text
        assert "жук ползёт" in found.text
        assert "Home" not in found.text and "rights" not in found.text

    @pytest.mark.parametrize("data", [b"", b"<html><body></body></html>", b"\x00\xff\xfe"])
    def test_a_page_without_text_is_a_bad_row(self, tmp_path, data):
        assert "save what should be found as .md" in reason(tmp_path / "a.html", data)

    def test_a_huge_page_is_a_bad_row_and_the_others_are_read(self, tmp_path):
        (tmp_path / "a.html").write_bytes(b"<p>" + b"word " * (10 << 20))
        (tmp_path / "b.html").write_text(PAGE)
        bad, good = items(opened(tmp_path))
        assert isinstance(bad, BadRow) and "has 50 MiB, more than 16; save" in bad.reason
        assert good.title == "Beetles"


class TestPdf:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("pypdf")

    def test_the_pages_are_the_text(self, tmp_path):
        found = read(tmp_path / "a.pdf", pdf("First page", "Second page"))
        assert found == Record(
            "a.pdf", "A paper", "First page\n\nSecond page", {"author": "Ann Lee", "pages": 2}, "a.pdf"
        )

    def test_a_scan_is_a_bad_row(self, tmp_path):
        assert "has no text on its 2 pages, which may be scanned; save it" in reason(tmp_path / "a.pdf", pdf("", ""))

    def test_an_encrypted_file_is_read_with_an_empty_password_and_else_a_bad_row(self, tmp_path):
        assert read(tmp_path / "a.pdf", pdf("Open to all", password="")).text == "Open to all"
        assert "is encrypted with a password; save it without" in reason(tmp_path / "b.pdf", pdf("x", password="no"))

    @pytest.mark.parametrize("cut", [0, 10, 300])
    def test_a_broken_file_is_a_bad_row(self, tmp_path, cut):
        assert "save it without a password" in reason(tmp_path / "a.pdf", pdf("text")[:cut])


class TestWord:
    @pytest.fixture(autouse=True)
    def _library(self):
        pytest.importorskip("docx")

    def test_headings_paragraphs_and_tables_are_markdown(self, tmp_path):
        found = read(tmp_path / "a.docx", word())
        assert found.title == "Жуки"
        assert found.text == "# Жуки\n\nA paragraph.\n\n| a | b |\n| c | d e |\n\n## Wings"
        assert found.metadata["author"] == "Ann Lee"

    def test_a_broken_file_is_a_bad_row(self, tmp_path):
        assert "is no .docx, or is encrypted" in reason(tmp_path / "a.docx", b"\xd0\xcf\x11\xe0 an old one")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr("other.txt", "x")
        assert "save it again" in reason(tmp_path / "b.docx", out.getvalue())

    def test_a_file_that_unpacks_to_too_much_is_a_bad_row(self, tmp_path, monkeypatch):
        monkeypatch.setattr("mnemodex.pipelines.sources.word.MAX_BYTES", 1 << 10)
        assert "unpacked, more than" in reason(tmp_path / "a.docx", word())
