"""Query files and relevance judgements."""

from __future__ import annotations

import gzip
import json

import pytest

from mnemodex.retrievers.queries import Query, read_queries
from mnemodex.schemas.errors import QueryError


def write(path, *rows):
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def test_our_own_form(tmp_path):
    file = write(
        tmp_path / "q.jsonl",
        {"id": "a", "question": "Wo?", "answers": ["hier"], "gold_ids": ["k1", 2]},
        {"id": 7, "question": "Wer?"},
        {"id": "c", "question": "", "gold_ids": None},
    )
    assert read_queries(file) == [Query("a", "Wo?", {"k1": 1, "2": 1}, ("hier",)), Query("7", "Wer?"), Query("c", "")]


def test_a_query_may_have_a_filter_and_a_kind(tmp_path):
    rows = {"id": "a", "question": "Wo?", "where": "d.key = 'x'", "kind": 2}, {"id": "b", "question": "", "kind": None}
    first, second = read_queries(write(tmp_path / "q.jsonl", *rows))
    assert (first.where, first.kind, second.where, second.kind) == ("d.key = 'x'", "2", None, "")
    with pytest.raises(QueryError, match=r"q\.jsonl line 1: `where` is no SQL expression, but a dict; write it as a"):
        read_queries(write(tmp_path / "q.jsonl", {"id": "a", "question": "Wo?", "where": {"key": "x"}}))


def test_gz_is_read_as_plain(tmp_path):
    plain = write(tmp_path / "q.jsonl", {"id": "a", "question": "Wo?", "gold_ids": ["k"]})
    packed = tmp_path / "q.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_queries(packed) == read_queries(plain)


def test_blank_lines_windows_ends_a_mark_at_the_front_and_odd_separators(tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_bytes(
        '\ufeff{"_id": "a", "text": "one\u2028two\u0085three"}\r\n\r\n  \n{"_id": "b", "text": "four"}'.encode()
    )
    assert [query.question for query in read_queries(file)] == ["one\u2028two\u0085three", "four"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("test.tsv", ["query-id\tcorpus-id\tscore", "q1\td 1\t1", "q1\td2\t2", "q2\td3\t0", "other\td4\t1"]),
        ("no-head.tsv", ["q1\td 1\t1", "q1\td2\t2", "q2\td3\t-1"]),
        ("windows.tsv", ["q1\td 1\t1\r", "q1\td2\t2\r", "\r"]),
    ],
)
def test_beir_queries_and_judgements(tmp_path, name, lines):
    queries = write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "Wo?"}, {"_id": "q2", "text": "Wer?"})
    judged = read_queries(queries, qrels=write(tmp_path / name, *lines))
    assert judged == [Query("q1", "Wo?", {"d 1": 1, "d2": 2}), Query("q2", "Wer?", {})]


def test_trec_judgements(tmp_path):
    queries = write(tmp_path / "queries.jsonl", {"_id": "q1", "text": "Wo?"})
    qrels = write(tmp_path / "qrels.txt", "q1 0 d1 1", "q1 0 d2 3", "q1 0 d3 0")
    assert read_queries(queries, qrels=qrels)[0].gold == {"d1": 1, "d2": 3}


def test_judgements_stand_in_for_the_files_own_gold(tmp_path):
    queries = write(tmp_path / "q.jsonl", {"id": "q1", "question": "Wo?", "gold_ids": ["old"]})
    assert read_queries(queries, qrels=write(tmp_path / "r.tsv", "q1\tnew\t1"))[0].gold == {"new": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 2: is not a JSON object"),
        ("[1, 2]", "line 2: is not a JSON object, but a list; correct the line"),
        ('{"id": "b"}', r"line 2: a query is .*; this has \['id'\]"),
        ('{"question": "Wo?"}', r"line 2: a query is .*; this has \['question'\]"),
        ('{"id": "b", "question": 5}', "line 2: a query is"),
        ('{"id": "b", "question": "Wo?", "gold_ids": "k"}', "line 2: a query is"),
        ('{"id": "a", "question": "Wo?"}', "query 2 has the id 'a' of query 1; make the ids unique"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(QueryError, match=message) as caught:
        read_queries(write(tmp_path / "q.jsonl", {"id": "a", "question": "Wo?"}, line))
    assert str(tmp_path / "q.jsonl") in str(caught.value)


@pytest.mark.parametrize("line", ["q1", "q1\td1", "q1 d1", "q1\td1\thigh", "q1 0 d1 1 extra", "q1\td1\t"])
def test_a_bad_judgement_is_named(tmp_path, line):
    queries = write(tmp_path / "q.jsonl", {"id": "a", "question": "Wo?"})
    with pytest.raises(QueryError, match=r"r\.tsv line 2: is not a judgement"):
        read_queries(queries, qrels=write(tmp_path / "r.tsv", "q0\td0\t1", line))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("missing.jsonl", None),
        ("latin.jsonl", b'{"id": "a", "question": "caf\xe9"}'),
        ("plain.gz", b'{"id": "a", "question": "Wo?"}'),
        ("cut.gz", gzip.compress(b'{"id": "a", "question": "Wo?"}' * 50, mtime=0)[:-20]),
        ("damaged.gz", gzip.compress(b"x" * 5000, mtime=0)[:12] + b"\xff" * 30),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(QueryError, match=f"{name}: cannot be read .*; (correct the path|write it in UTF-8)") as caught:
        read_queries(tmp_path / name)
    assert str(caught.value).count(str(tmp_path)) == 1


def test_a_folder_is_no_query_file(tmp_path):
    with pytest.raises(QueryError, match="cannot be read"):
        read_queries(tmp_path)


def test_a_file_without_queries_is_refused(tmp_path):
    with pytest.raises(QueryError, match="has no queries"):
        read_queries(write(tmp_path / "q.jsonl", "", "  "))


@pytest.mark.parametrize("name", ["q.jsonl.gz", "Q.JSONL.GZ", "q.jsonl"])
def test_packed_queries_are_known_by_their_first_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b'{"id": "1", "question": "where?"}\n') + bytes(100))
    assert [query.question for query in read_queries(tmp_path / name)] == ["where?"]
