"""Files of question-answer pairs: every format gives the same rows, and what cannot be used says why."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.qa.rows import PairRow, check_file, read_pairs
from mnemodex.schemas.errors import SourceError

ROWS = [
    {"id": "one", "question": "Who winds the lamp?", "answers": ["the keeper", "Ann"], "passage_id": "notes"},
    {"id": "two", "question": "Где маяк?", "answers": ["в Олме"], "passage_id": ""},
]
READ = [
    PairRow(1, "one", "Who winds the lamp?", ["the keeper", "Ann"], "notes", None),
    PairRow(2, "two", "Где маяк?", ["в Олме"], "", None),
]


def write(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_table(path, delimiter):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows([ROWS[0] | {"answers": json.dumps(ROWS[0]["answers"])}, ROWS[1] | {"answers": "в Олме"}])
    return path


def fields(pairs):
    return [pair._replace(line=0) for pair in pairs]


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.JSONL.gz", "p.csv", "p.tsv", "p.parquet"])
def test_every_format_gives_the_same_pairs(tmp_path, name):
    path = tmp_path / name
    if name == "p.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name in ("p.csv", "p.tsv"):
        write_table(path, "," if name == "p.csv" else "\t")
    else:
        write(path, ROWS)
    check_file(path)
    assert fields(read_pairs(path)) == fields(READ)


def test_a_cell_of_several_lines_is_one_row_and_the_next_rows_keep_their_lines(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('question,answer\n"Who\nwinds it?","the ""keeper"""\nWhere?,[here]\n,x\n')
    first, second, bad = read_pairs(path)
    assert (first.question, first.answers, first.line) == ("Who winds it?", ['the "keeper"'], 3)
    assert (second.answers, second.key) == (["[here]"], "line 4")
    assert (bad.line, bad.reason.split(";")[0]) == (5, "has no question")


def test_a_score_of_csv_is_a_number_and_one_that_is_none_is_told(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("question,answer,score\nWho?,Ann,0.5\nWhere?,here,\nWhen?,now,high\nWhy?,so,inf\n")
    who, where, *bad = read_pairs(path)
    assert (who.score, where.score) == (0.5, None)
    assert [row.reason.partition(";")[0] for row in bad] == ["has a score that is no number"] * 2


def test_one_answer_numbers_and_a_score_are_read_as_they_are_meant(tmp_path):
    rows = [
        {"question": " How  many? ", "answer": 35, "passage_id": 7, "score": 0.5},
        {"id": 3, "question": "Which?", "answer": ["a", "", "a", " b "]},
    ]
    assert list(read_pairs(write(tmp_path / "p.jsonl", rows))) == [
        PairRow(1, "line 1", "How many?", ["35"], "7", 0.5),
        PairRow(2, "3", "Which?", ["a", "b"], "", None),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "is not JSON"),
        ("[1]", 'is not {"id"'),
        ('{"question": "Who?", "answers": NaN}', "is not JSON"),
        ('{"answers": ["a"]}', "has no question"),
        ('{"question": " ?? ", "answers": ["a"]}', "has no question"),
        ('{"question": ["Who?"], "answers": ["a"]}', "has no question"),
        ('{"question": "Who?"}', "has no answer"),
        ('{"question": "Who?", "answers": []}', "has no answer"),
        ('{"question": "Who?", "answers": ["", null]}', "has no answer"),
        ('{"question": "Who?", "answers": [{"text": "a"}, "b"]}', "has an answer that is no text"),
        ('{"question": "Who?", "answer": {"text": "a"}}', "has an answer that is no text"),
        ('{"question": "Who?", "answer": "a", "passage_id": ["x"]}', "has an id that is no text"),
        ('{"question": "Who?", "answer": "\\ud800"}', "is not"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path, line, reason):
    path = tmp_path / "p.jsonl"
    path.write_text(f"\n{line}\n")
    (bad,) = read_pairs(path)
    assert isinstance(bad, BadRow) and bad.line == 2 and bad.reason.startswith(reason)
    assert bad.content.startswith(line[0])


def test_csv_that_is_no_text_or_no_csv_is_told_row_by_row(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b'question,answer\nWho?,\xff\nWhen?,now\nWhere?,"a"b\nHow?,so\n')
    rows = list(read_pairs(path))
    assert [getattr(row, "reason", "read").split(" (")[0].split(";")[0] for row in rows] == [
        "is not valid Unicode",
        "read",
        "is not CSV",
        "read",
    ]


def test_a_row_of_csv_with_more_cells_than_the_header_is_not_cut(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("question,answer\nWhere?,Paris, Texas\nHow?,so\n")
    bad, read = read_pairs(path)
    assert bad.reason.startswith("has more cells than the header, by 1; put cells with a ',' in quotes")
    assert (bad.line, bad.content, read.question) == (2, '["Where?", "Paris", " Texas"]', "How?")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "no such file of question-answer pairs"),
        ("empty.jsonl", b"", "is empty"),
        ("pairs.xlsx", b"x", "of no known format"),
        ("pairs", b"x", "of no known format"),
    ],
)
def test_a_file_that_is_none_is_refused_before_the_build(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        check_file(path)


def test_a_table_without_questions_or_no_parquet_is_refused(tmp_path):
    (tmp_path / "p.csv").write_text("q,a\nWho?,Ann\n")
    with pytest.raises(SourceError, match="no column 'question', but 'q', 'a'; give a header"):
        list(read_pairs(tmp_path / "p.csv"))
    pq.write_table(pa.table({"q": ["Who?"], "a": ["Ann"]}), tmp_path / "other.parquet")
    with pytest.raises(SourceError, match="the table has no column 'question', but 'q', 'a'; give a header"):
        list(read_pairs(tmp_path / "other.parquet"))
    (tmp_path / "p.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        list(read_pairs(tmp_path / "p.parquet"))
