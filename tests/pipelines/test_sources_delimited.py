from __future__ import annotations

import csv
import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.delimited import mark_csv
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.kinds import SOURCES, load


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def settings(**given):
    return load(SOURCES.find("csv").settings)(format="csv", **given)


def test_records_have_the_header_as_names_and_the_lines_of_the_file(tmp_path):
    text = 'id,title,text,lang\r\na,"One, two","first\nsecond ""line""",en\r\n\r\nb,Ж,жук,\r\n'
    assert items(opened(write(tmp_path / "c.csv", text))) == [
        Record("a", "One, two", 'first\nsecond "line"', {"lang": "en"}, "c.csv", 2),
        Record("b", "Ж", "жук", {}, "c.csv", 5),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("c.csv", ";"), ("c.csv", "|"), ("c.tsv", "\t"), ("c.tab", "\t")])
def test_the_delimiter_is_the_one_that_the_header_has_most_often(tmp_path, name, delimiter):
    text = f"\ufeffid{delimiter}text\na{delimiter}x, y, z\n"
    assert items(opened(write(tmp_path / name, text))) == [Record("a", "", "x, y, z", {}, name, 2)]


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".CSV.GZ"])
def test_compressed_tables_are_read_like_others(tmp_path, ending):
    data = b"id,text\n" + b"".join(b'%d,"x\ny"\n' % number for number in range(100))
    packed = gzip.compress(data) if "gz" in ending.lower() else pa.compress(data, codec="zstd").to_pybytes()
    found = items(opened(write(tmp_path / f"c{ending}", packed), rows=7))
    assert [(item.key, item.line) for item in found] == [(str(number), 2 + 2 * number) for number in range(100)]


def test_delimiter_and_header_can_be_said(tmp_path):
    from mnemodex.pipelines.sources import open_source

    path = str(write(tmp_path / "c.csv", "a:x, y\nb:z\n"))
    source = open_source(settings(path=path, delimiter=":", header=False, fields={"key": "1", "text": "2"}))
    assert [(item.key, item.text, item.line) for item in items(source)] == [("a", "x, y", 1), ("b", "z", 2)]
    for wrong in ("::", "é", '"', "\n"):
        with pytest.raises(ValueError, match="delimiter"):
            settings(path=path, delimiter=wrong)
    with pytest.raises(RecipeError, match="unknown source format 'tsv'"):
        opened(path, format="tsv")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('id,text\na,5" disk\nb,x\n', "line 2 has a stray quote; double"),
        ('id,text\na,"x\ny\nb,z\nc,"w"\n', "line 5 has a stray quote in the field that is opened in line 2"),
        ('id,text\na,"x" y\n', "line 2 has a stray quote in the field that is opened in line 2"),
        ('id,text\na,x\nb,"y\nz\n', "line 3 opens a quoted field that is never closed"),
        ("id,text,id\na,x,b\n", "line 1 names the column 'id' twice"),
        ("id,text\ra,x\rb,y\r", "lines end with a carriage return"),
        (b"id,caf\xe9\n1,x\n", "line 1 is not UTF-8"),
    ],
)
def test_what_is_no_csv_is_one_error_that_names_the_line(tmp_path, text, problem):
    with pytest.raises(SourceError, match=rf"c\.csv: {problem}"):
        opened(write(tmp_path / "c.csv", text)).plan()


def test_rows_that_do_not_fit_are_bad_rows_and_lose_no_others(tmp_path):
    text = b"id,text\na,x\nb,y,z\nc\nd,caf\xe9\n,w\ne,\xd0\xb6\n"
    found = items(opened(write(tmp_path / "c.csv", text)))
    assert [item.line for item in found] == [2, 3, 4, 5, 6, 7]
    assert [item.key for item in found if isinstance(item, Record)] == ["a", "e"]
    reasons = [item.reason for item in found if isinstance(item, BadRow)]
    assert "has 3 cells, and the header 2; put a cell with ',' in quotes" in reasons[0]
    assert "has 1 cells" in reasons[1]
    assert "not UTF-8 (byte 0xe9" in reasons[2]
    assert "'id' is empty" in reasons[3]


@pytest.mark.parametrize("text", ["", "\ufeff", "id,text", "id,text\n", "id,text\n\n"])
def test_a_table_without_rows_has_no_documents(tmp_path, text):
    assert items(opened(write(tmp_path / "c.csv", text))) == []


def test_columns_without_a_name_are_called_by_their_number_and_rows_can_be_numbered(tmp_path):
    path = write(tmp_path / "c.csv", ",text\n0,x\n1,y\n")
    found = items(opened(path, fields={"key": "$row"}))
    assert [(item.key, item.metadata) for item in found] == [
        ("c.csv:2", {"column 1": "0"}),
        ("c.csv:3", {"column 1": "1"}),
    ]


def test_another_header_changes_every_split_and_more_rows_only_the_last(tmp_path):
    rows = "".join(f"{number},x\n" for number in range(40))
    plans = [
        opened(write(tmp_path / "c.csv", text), rows=8).plan()
        for text in (f"id,text\n{rows}", f"id,body\n{rows}", f"id,text\n{rows}41,y\n")
    ]
    first, renamed, longer = ([split.fingerprint() for split in plan] for plan in plans)
    assert not set(first) & set(renamed)
    assert longer[:4] == first[:4]


def test_a_long_cell_is_read_whole(tmp_path):
    text = "x" * 300_000
    assert items(opened(write(tmp_path / "c.csv", f'id,text\na,"{text}"\n')))[0].text == text


_cell = st.text(st.sampled_from('ab,;"\n\r жx'), max_size=6)


@given(rows=st.lists(st.tuples(_cell, _cell), max_size=12), most=st.integers(1, 4), block=st.integers(1, 30))
def test_any_table_comes_back_whatever_its_pieces_and_blocks(tmp_path_factory, rows, most, block):
    written = io.StringIO()
    csv.writer(written).writerows([("text", "other"), *rows])
    data = written.getvalue().encode()
    path = write(tmp_path_factory.mktemp("table") / "c.csv", data)
    found = items(opened(path, rows=most, fields={"key": "$row"}))
    assert [(item.text, item.metadata.get("other", "")) for item in found] == rows
    marked = mark_csv((data[at : at + block] for at in range(0, len(data), block)), "f", ",")
    assert sum(len(one.ends) for one in marked) == len(rows) + 1
