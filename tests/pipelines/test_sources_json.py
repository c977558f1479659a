from __future__ import annotations

import gzip
import json
from itertools import accumulate

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.json_array import mark_elements
from mnemodex.schemas.errors import SourceError


def corpus(path, data):
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False, indent=1).encode())
    return path


def test_passages_are_keyed_by_idx_or_by_their_place(tmp_path):
    path = corpus(tmp_path / "c.json", [{"title": "A", "text": "a"}, {"title": "Bé", "text": "b", "idx": 70, "x": 1}])
    assert items(opened(path)) == [
        Record("0", "A", "a", {}, "c.json", 1),
        Record("70", "Bé", "b", {"x": 1}, "c.json", 2),
    ]


def test_a_named_key_must_be_there(tmp_path):
    path = corpus(tmp_path / "c.json", [{"title": "A", "text": "a", "id": "x"}, {"title": "B", "text": "b"}])
    good, bad = items(opened(path, fields={"key": "id"}))
    assert good.key == "x"
    assert isinstance(bad, BadRow)
    assert "has no field 'id'" in bad.reason


def test_appending_passages_changes_only_the_last_split(tmp_path):
    passages = [{"title": f"T{number}", "text": "ж" * number} for number in range(40)]
    old = opened(corpus(tmp_path / "c.json", passages[:25]), rows=10).plan()
    source = opened(corpus(tmp_path / "c.json", passages), rows=10)
    new = source.plan()
    assert (len(old), len(new)) == (3, 4)
    assert new[:2] == old[:2]
    assert [(record.key, record.title, record.text, record.line) for record in items(source)] == [
        (str(number), f"T{number}", "ж" * number, number + 1) for number in range(40)
    ]


def test_bytes_end_a_split_too(tmp_path):
    path = corpus(tmp_path / "c.json", [{"title": "", "text": "x" * 100}] * 7)
    source = opened(path, size=200)
    assert [split.pieces[0].first_line for split in source.plan()] == [1, 3, 4, 6, 7]
    assert len(items(source)) == 7


def test_a_bad_element_does_not_spoil_the_others(tmp_path):
    data = (
        b'\xef\xbb\xbf [ {"text": "a"}, "b", {"title": "c"}, {"text": "caf\xe9"},\n'
        b'{"text": "\\ud800"}, {"text": NaN}, {"text": "x\ty"}, {"n": ' + b"9" * 9999 + b'}, {"text": "i"}\n]\n'
    )
    found = items(opened(corpus(tmp_path / "c.json", data), rows=2))
    assert [item.line for item in found] == list(range(1, 10))
    assert [item.key for item in found if isinstance(item, Record)] == ["0", "8"]
    assert "not UTF-8 (byte 0xe9" in found[3].reason


@pytest.mark.parametrize("data", [b"", b"  \n", b"[]", b"\xef\xbb\xbf[ ]\n"])
def test_a_list_of_nothing_has_no_splits(tmp_path, data):
    assert opened(corpus(tmp_path / "c.json", data)).plan() == []


@pytest.mark.parametrize(
    "data",
    [
        b'{"docs": [{"passage": "a", "extracted_triples": []}]}',
        b'{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n',
        b'[{"text": "a"}, {"text": "b"}',
        b'[{"text": "a"}, ]',
        b'[{"text": "a"}] and more',
        b"[,]",
        b'["' + b"a" * 100,
        b"[" * 100_000,
    ],
    ids=[
        "openie",
        "jsonl",
        "cut off",
        "comma at the end",
        "more after it",
        "only a comma",
        "open string",
        "deep",
    ],
)
def test_a_file_that_is_not_a_list_is_named(tmp_path, data):
    with pytest.raises(SourceError, match=r"c\.json: is not a JSON list.*source\.format: jsonl"):
        opened(corpus(tmp_path / "c.json", data)).plan()


def test_elements_without_a_comma_between_them_are_one_bad_row(tmp_path):
    data = b'[{"text": "a"} {"text": "b"}, {"text": "c"}]'
    bad, good = items(opened(corpus(tmp_path / "c.json", data)))
    assert isinstance(bad, BadRow)
    assert (bad.line, good.text) == (1, "c")


def test_a_list_is_read_from_a_compressed_file(tmp_path):
    rows = [{"idx": n, "title": "T", "text": f"{n} жук \\"} for n in range(30)]
    data = json.dumps(rows, ensure_ascii=False).encode()
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.json.zst").write_bytes(pa.compress(data, codec="zstd").to_pybytes())
    for name in ("a.json.gz", "a.json.zst"):
        assert [item.text for item in items(opened(tmp_path / name, rows=7))] == [row["text"] for row in rows]


def test_too_long_an_element_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.sources.cutting.MAX_BYTES", 100)
    monkeypatch.setattr("mnemodex.pipelines.sources.reading.BLOCK", 50)
    with pytest.raises(SourceError, match=r"line 2 is longer than .*write the rows as JSONL"):
        opened(corpus(tmp_path / "c.json", [{"text": "x"}, {"text": "x" * 200}])).plan()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(
    values=st.lists(_json, max_size=8),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    block=st.integers(1, 40),
)
def test_elements_are_those_of_the_parsed_list(values, indent, ascii_only, block):
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    body = data[1:]
    found = list(mark_elements((body[at : at + block] for at in range(0, len(body), block)), "f"))
    held = b"".join(one.block for one in found)
    starts = accumulate((len(one.block) for one in found), initial=0)
    ends = [at + int(end) for one, at in zip(found, starts, strict=False) for end in one.ends]
    rows = [held[begin:end].strip(b", \n") for begin, end in zip([0, *ends], ends, strict=False)]
    assert [json.loads(row) for row in rows] == values


@given(rows=st.lists(st.dictionaries(st.text(max_size=4), _json, max_size=3), max_size=12), most=st.integers(1, 4))
def test_pieces_hold_the_rows_of_the_list(tmp_path_factory, rows, most):
    path = corpus(tmp_path_factory.mktemp("list") / "c.json", [{"idx": 0, "text": "", "other": row} for row in rows])
    found = items(opened(path, rows=most))
    assert [(item.line, item.metadata) for item in found] == [(n, {"other": row}) for n, row in enumerate(rows, 1)]
