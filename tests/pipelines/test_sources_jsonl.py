from __future__ import annotations

import bz2
import gzip
import json
import lzma
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import items, opened

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.splits import continued
from mnemodex.pipelines.sources import files
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.jsonl import cut_lines
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


def write_rows(path: Path, count: int, *, first: int = 0) -> None:
    lines = (
        json.dumps({"id": f"d{number}", "title": f"Title {number}", "text": "word " * (number % 7)}) + "\n"
        for number in range(first, first + count)
    )
    data = "".join(lines).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.compress(data, codec="zstd").to_pybytes()
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["c.jsonl", "c.JSONL", "c.ndjson", "c.jsonl.gz", "c.ndjson.gz", "c.jsonl.zst"])
def test_every_line_is_one_record_in_order(tmp_path, name):
    write_rows(tmp_path / name, 10)
    found = items(opened(tmp_path / name, rows=3))
    assert [record.key for record in found] == [f"d{number}" for number in range(10)]
    assert [record.line for record in found] == list(range(1, 11))
    assert {record.source for record in found} == {name}


def test_compressed_and_plain_files_give_the_same_records_and_checksums(tmp_path):
    names = ("c.jsonl", "c.jsonl.gz", "c.jsonl.zst")
    for name in names:
        write_rows(tmp_path / name, 100)
    sources = [opened(tmp_path / name, rows=7) for name in names]
    places = [
        [(p.start, p.end, p.first_line, p.sha256) for split in source.plan() for p in split.pieces]
        for source in sources
    ]
    contents = [[(item.key, item.title, item.text, item.line) for item in items(source)] for source in sources]
    assert places[0] == places[1] == places[2]
    assert contents[0] == contents[1] == contents[2]


def test_several_gz_members_in_one_file_are_one_stream(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "text": "a"}\n') + gzip.compress(b'{"id": 2, "text": "b"}\n'))
    assert [record.key for record in items(opened(path))] == ["1", "2"]


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz"])
@pytest.mark.parametrize("before", [1, 9, 10, 11, 25])
def test_appending_changes_only_the_last_split(tmp_path, name, before):
    path = tmp_path / name
    write_rows(path, before)
    old = opened(path, rows=10).plan()
    write_rows(path, before + 13)
    new = opened(path, rows=10).plan()
    assert new[: len(old) - 1] == old[:-1]
    assert [split.label for split in new[: len(old)]] == [split.label for split in old]
    full = before % 10 == 0
    assert (new[len(old) - 1].fingerprint() == old[-1].fingerprint()) == full


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    ends_with_newline=st.booleans(),
    limit=st.integers(1, 6),
    size=st.integers(1, 40),
    block=st.integers(1, 50),
)
def test_pieces_cover_the_file_end_at_lines_and_do_not_depend_on_blocks(lines, ends_with_newline, limit, size, block):
    data = b"\n".join(lines) + (b"\n" if ends_with_newline and lines else b"")
    blocks = [data[start : start + block] for start in range(0, len(data), block)]
    pieces = list(cut_lines(blocks, path="f", rows=limit, size=size))
    assert pieces == list(cut_lines([data] if data else [], path="f", rows=limit, size=size))
    assert b"".join(data[piece.start : piece.end] for piece in pieces) == data
    for piece in pieces:
        held = data[piece.start : piece.end]
        last_line = held.rfind(b"\n", 0, len(held) - 1) + 1
        assert held.endswith(b"\n") or piece.end == len(data)
        assert piece.first_line == data[: piece.start].count(b"\n") + 1
        assert piece.rows == len(held.removesuffix(b"\n").split(b"\n")) <= limit
        assert (piece.start + last_line - 1) // size == piece.start // size or last_line == 0
    for piece in pieces[:-1]:
        assert piece.rows == limit or piece.end // size > piece.start // size


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    limit=st.integers(1, 6),
    size=st.integers(1, 20),
    times=st.integers(1, 4),
    block=st.integers(1, 50),
)
def test_ranges_of_a_file_have_the_pieces_of_the_whole_file(lines, limit, size, times, block):
    data = b"\n".join(lines)

    def blocks(start):
        return (data[place : place + block] for place in range(start, len(data), block))

    whole = list(cut_lines(blocks(0), path="f", rows=limit, size=size))
    found = []
    for start in range(0, len(data), size * times):
        begin, stop = max(0, start - 1), start + size * times
        pieces = list(cut_lines(blocks(begin), path="f", rows=limit, size=size, start=start, stop=stop))
        assert not pieces or pieces[0].first_line == 1
        found += pieces
    assert list(continued(found)) == whole


def test_a_piece_ends_at_the_line_that_fills_its_rows_or_reaches_a_multiple_of_its_bytes(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"".join(b'{"id": %d, "text": "%s"}\n' % (number, b"x" * 79) for number in range(10)))
    line = path.stat().st_size // 10
    by_rows = opened(path, rows=4).plan()
    by_bytes = opened(path, size=2 * line + 1).plan()
    assert [split.pieces[0].end for split in by_rows] == [4 * line, 8 * line, 10 * line]
    assert [split.pieces[0].end for split in by_bytes] == [3 * line, 5 * line, 7 * line, 9 * line, 10 * line]


def test_blank_lines_crlf_and_a_byte_order_mark_are_no_rows(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "x"}\r\n\r\n   \n\n{"id": "b", "text": "y"}')
    assert [(record.key, record.line) for record in items(opened(path, rows=2))] == [("a", 1), ("b", 5)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_byte_order_mark_after_the_start_is_a_bad_row_however_the_file_is_cut(tmp_path, limit):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": "a", "text": "x"}\n' + b'\xef\xbb\xbf{"id": "b", "text": "y"}\n' * 2)
    assert [type(item) for item in items(opened(path, rows=limit))] == [Record, BadRow, BadRow]


def test_bad_rows_are_reported_in_place_and_the_others_are_read(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": 1, "text": "a"}\n{oops\n\n\xff\xfe\n[1]\n{"id": 5, "text": "e"}\n')
    found = items(opened(path, rows=2))
    assert [(type(item), item.line) for item in found] == [
        (Record, 1), (BadRow, 2), (BadRow, 4), (BadRow, 5), (Record, 6),
    ]  # fmt: skip
    assert found[1].content == "{oops"
    assert all(item.source == "c.jsonl" for item in found)


def test_the_files_of_a_folder_are_cut_each_by_itself(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.jsonl", "a.jsonl.gz", "sub/c.ndjson", ".hidden.jsonl"):
        write_rows(tmp_path / name, 5)
    plan = opened(tmp_path, rows=3).plan()
    assert [split.pieces[0].path for split in plan] == [
        "a.jsonl.gz", "a.jsonl.gz", "b.jsonl", "b.jsonl", "sub/c.ndjson", "sub/c.ndjson",
    ]  # fmt: skip
    write_rows(tmp_path / "aa.jsonl", 5)
    grown = opened(tmp_path, rows=3).plan()
    assert set(plan) < set(grown)


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_a_beir_folder_is_its_corpus(tmp_path, name):
    row = b'{"_id": "doc1", "title": "T", "text": "body", "metadata": {"url": "u"}}\n'
    (tmp_path / name).write_bytes(gzip.compress(row) if name.endswith(".gz") else row)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "a question"}\n')
    (tmp_path / "notes.txt").write_text("not a document of the corpus")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    assert items(opened(tmp_path)) == [Record("doc1", "T", "body", {"metadata": {"url": "u"}}, source=name, line=1)]


def test_a_beir_folder_with_two_corpora_is_refused(tmp_path):
    write_rows(tmp_path / "corpus.jsonl", 1)
    write_rows(tmp_path / "corpus.jsonl.gz", 1)
    with pytest.raises(SourceError, match=r"corpus\.jsonl, corpus\.jsonl\.gz.*name one"):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz"])
def test_a_source_of_no_rows_has_no_splits(tmp_path, name):
    write_rows(tmp_path / name, 0)
    assert opened(tmp_path / name).plan() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b'{"id": 1, "text": "a"}\n' * 9999)[:-9], "Truncated"),
        (b'{"id": 1, "text": "a"}\n', "cannot be read as gzip"),
        (b"", "no bytes"),
    ],
    ids=["truncated", "not gzip", "no bytes"],
)
def test_a_broken_gz_file_is_named(tmp_path, content, reason):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"c\.jsonl\.gz: .*{reason}"):
        opened(path).plan()


@pytest.mark.parametrize("padding", [1, 5000, 1 << 20])
def test_zeros_behind_a_gz_file_are_no_part_of_it(tmp_path, padding):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "text": "a"}\n') + bytes(padding))
    assert [item.text for item in items(opened(path))] == ["a"]


def test_what_else_is_behind_a_gz_file_is_named(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "text": "a"}\n') + bytes(9) + b"rest")
    with pytest.raises(SourceError, match=r"c\.jsonl\.gz: cannot be read as gzip"):
        opened(path).plan()


@pytest.mark.parametrize(
    ("pack", "what"),
    [
        (gzip.compress, "gzip, but its name does not end in .gz"),
        (bz2.compress, "bzip2; unpack it"),
        (lzma.compress, "xz; unpack it"),
        (lambda data: pa.compress(data, codec="zstd", asbytes=True), "zstd, but its name does not end in .zst"),
    ],
)
@pytest.mark.parametrize("name", ["c.jsonl", "c.txt", "c.json"])
def test_a_compressed_file_that_is_not_called_so_is_named(tmp_path, name, pack, what):
    (tmp_path / name).write_bytes(pack(b'{"id": 1, "text": "a"}\n' * 100))
    with pytest.raises(SourceError, match=rf"{name}: is {what}"):
        opened(tmp_path / name).plan()


def test_an_endless_line_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.sources.cutting.MAX_BYTES", 10 << 20)

    def endless():
        yield b"{}\n{}\n"
        while True:
            yield b" " * (4 << 20)

    with pytest.raises(SourceError, match="f: line 3 is longer than 10 MiB"):
        list(cut_lines(endless(), path="f", rows=10, size=100))


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz"])
@pytest.mark.parametrize("count", [3, 49, 51])
def test_a_file_that_changed_after_the_plan_is_refused(tmp_path, name, count):
    path = tmp_path / name
    write_rows(path, 50)
    source = opened(path, rows=10)
    plan = source.plan()
    write_rows(path, count, first=1)
    with pytest.raises(SourceError, match="has changed"):
        [list(source.read(split)) for split in plan]


def test_a_file_that_went_away_after_the_plan_is_named(tmp_path):
    path = tmp_path / "c.jsonl"
    write_rows(path, 5)
    source = opened(path)
    plan = source.plan()
    path.unlink()
    with pytest.raises(SourceError, match=r"c\.jsonl: cannot be read"):
        list(source.read(plan[0]))


@pytest.mark.parametrize("name", ["c.jsonl", "c.jsonl.gz"])
@given(order=st.permutations(range(6)))
def test_splits_can_be_read_in_any_order_and_alone(tmp_path_factory, name, order):
    path = tmp_path_factory.mktemp("source") / name
    write_rows(path, 12)
    source = opened(path, rows=2)
    plan = source.plan()
    found = {plan[at].label: [item.key for item in source.read(plan[at])] for at in order}
    assert found == {split.label: [f"d{2 * at}", f"d{2 * at + 1}"] for at, split in enumerate(plan)}
    alone = opened(path, rows=2).read(plan[order[0]])
    assert [item.key for item in alone] == found[plan[order[0]].label]


def test_records_stay_readable_when_the_reading_has_gone_on(tmp_path):
    path = tmp_path / "c.jsonl"
    write_rows(path, 6)
    source = opened(path, rows=2)
    begun = [source.read(split) for split in source.plan()]
    first = [[next(items).key] for items in begun]
    later = [[item.key for item in items] for items in begun]
    assert (first, later) == ([["d0"], ["d2"], ["d4"]], [["d1"], ["d3"], ["d5"]])


def test_a_compressed_file_is_decompressed_once_for_all_its_splits(tmp_path, monkeypatch):
    path = tmp_path / "c.jsonl.gz"
    write_rows(path, 40)
    source = opened(path, rows=4)
    plan = source.plan()
    streamed = []
    real = files.open_stream
    monkeypatch.setattr(files, "open_stream", lambda path: streamed.append(path) or real(path))
    assert sum(1 for split in plan[::2] for _ in source.read(split)) == 20
    assert len(streamed) == 1


def test_labels_are_safe_unique_and_numbered(tmp_path):
    names = ["plain.jsonl", "a b.jsonl", "a-b.jsonl", "ü.jsonl", "日本.jsonl", "x" * 60 + ".jsonl", "x" * 61 + ".jsonl"]
    for name in names:
        write_rows(tmp_path / name, 3)
    labels = [split.label for split in opened(tmp_path, rows=2).plan()]
    assert len(set(labels)) == len(labels) == 2 * len(names)
    assert {"plain.jsonl-00000", "plain.jsonl-00001", "a-b.jsonl-00000"} < set(labels)
    for label in labels:
        stem, _, number = label.rpartition("-")
        assert len(stem) <= 48
        assert len(number) == 5
        assert set(stem) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
        assert stem[0] not in ".-"


@pytest.mark.parametrize(("name", "compressed"), [("c.jsonl", ""), ("sub/c.JSONL.GZ", "sub/c.JSONL.GZ")])
def test_a_split_tells_its_bytes_and_its_file_where_that_is_read_from_the_beginning(tmp_path, name, compressed):
    rows = b"".join(b'{"id": %d, "text": "x"}\n' % number for number in range(5))
    (tmp_path / "sub").mkdir()
    (tmp_path / name).write_bytes(gzip.compress(rows) if compressed else rows)
    plan = opened(tmp_path, rows=2).plan()
    assert [split.compressed for split in plan] == [compressed] * 3
    assert [split.bytes for split in plan] == [len(rows) * 2 // 5, len(rows) * 2 // 5, len(rows) // 5]
