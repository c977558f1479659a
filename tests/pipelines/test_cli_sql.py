"""`mnemodex sql`: answers that programs can read, and what strangers may not do."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import pytest
from commands import assert_refused

from mnemodex.retrievers import memory_limit


def test_json_is_columns_and_rows(cli, library):
    answer = cli("sql", library, "SELECT key, title FROM documents WHERE key LIKE 'twin%' ORDER BY key", "--json").json
    assert answer == {"columns": ["key", "title"], "rows": [["twin a", "Twin"], ["twin b", "Twin"]]}


def test_no_rows_are_an_empty_list(cli, library):
    assert cli("sql", library, "SELECT key FROM documents WHERE false", "--json").json == {
        "columns": ["key"],
        "rows": [],
    }
    assert cli("sql", library, "SELECT key FROM documents WHERE false").code == 0


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1", 1),
        ("true", True),
        ("NULL", None),
        ("1.5::DOUBLE", 1.5),
        ("'nan'::DOUBLE", None),
        ("'-inf'::FLOAT", None),
        ("sum(tokens)", 3049),
        ("1.25::DECIMAL(5, 2)", 1.25),
        ("9007199254740993", "9007199254740993"),
        ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
        ("[1, NULL, 'nan'::DOUBLE]", [1.0, None, None]),
        ("{'a': 1, 'b': {'c': [2]}}", {"a": 1, "b": {"c": [2]}}),
        ("MAP {'k': 1}", [["k", 1]]),
        ("DATE '2026-01-31'", "2026-01-31"),
        ("'日本 \"x\"\n'", '日本 "x"\n'),
    ],
)
def test_every_value_is_json(cli, library, expression, value):
    assert cli("sql", library, f"SELECT {expression} AS v FROM chunks GROUP BY ALL LIMIT 1", "--json").json == {
        "columns": ["v"],
        "rows": [[value]],
    }


def test_ids_are_strings_so_that_javascript_keeps_them(cli, library, memory):
    answer = cli("sql", library, "SELECT chunk_id FROM chunks ORDER BY chunk_id LIMIT 1", "--json").json
    assert answer["rows"] == [[str(min(memory.ids_where("true").tolist()))]]


def test_two_columns_of_one_name_keep_their_values(cli, library):
    assert cli("sql", library, "SELECT 1 AS a, 2 AS a", "--json").json == {"columns": ["a", "a_1"], "rows": [[1, 2]]}
    assert cli("sql", library, "SELECT 1 AS a, 2 AS a").out.split() == ["a", "a_1", "1", "2"]


def test_people_get_a_table_with_long_texts_cut(cli, library):
    out = cli("sql", library, "SELECT key, repeat('x', 1000) AS long, [1, 2] AS list FROM documents LIMIT 1").out
    assert out.split()[:3] == ["key", "long", "list"] and "…" in out and "[1, 2]" in out
    assert len(out) < 3000


def test_a_question_is_compared_with_all_vectors(cli, library, memory):
    question = "embed('bread that is baked twice')::FLOAT[384]"
    answer = cli(
        "sql",
        library,
        f"SELECT e.chunk_id, title FROM embeddings_minilm e JOIN chunks USING (chunk_id) "
        f"ORDER BY array_cosine_similarity(vector::FLOAT[384], {question}) DESC LIMIT 5",
        "--json",
    ).json
    hits = memory.retriever("flat").search(["bread that is baked twice"], 5).chunks()[0]
    assert answer["rows"][0] == [str(hits[0].chunk_id), hits[0].title]
    assert {row[0] for row in answer["rows"]} == {str(hit.chunk_id) for hit in hits}


@pytest.mark.parametrize(
    ("query", "saying"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM python_variable", "does not exist"),
        ("COPY (SELECT 1) TO 'out.csv'", "exactly one SELECT"),
        ("ATTACH 'other.db'", "exactly one SELECT"),
        ("SET threads = 1", "exactly one SELECT"),
        ("PRAGMA version", "exactly one SELECT"),
        ("INSTALL httpfs", "exactly one SELECT"),
        ("SELECT 1; SELECT 2", "exactly one SELECT"),
        ("EXPLAIN ANALYZE DROP VIEW chunks", "exactly one SELECT"),
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM chunks", 'column "nope" not found'),
        ("", "exactly one SELECT"),
    ],
)
def test_what_is_not_one_select_over_the_memory_is_refused(cli, library, tmp_path, monkeypatch, query, saying):
    python_variable = [1]
    monkeypatch.chdir(tmp_path)
    ran = cli("sql", library, query, "--json")
    assert_refused(ran, saying="")
    assert saying.casefold() in ran.err.casefold(), ran.err
    assert list(tmp_path.iterdir()) == [] and python_variable


def test_an_endless_statement_is_stopped_after_its_time(cli, library):
    started = time.perf_counter()
    ran = cli("sql", library, "SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b", "--timeout", 0.3)
    assert_refused(ran, saying="ran longer than 0.3 s and was stopped; narrow it, or raise --timeout")
    assert time.perf_counter() - started < 15


def test_a_statement_may_not_take_all_memory(cli, library):
    ran = cli("sql", library, "SELECT list(a) FROM range(100000000) t(a)", "--memory-limit", "50MB")
    assert_refused(ran, saying="Out of Memory")
    assert ran.err.endswith("; narrow the statement, or raise --memory-limit\n")
    assert_refused(
        cli("sql", library, "SELECT 1", "--memory-limit", "a lot"), saying="memory limit 'a lot' is not a size"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory")
def test_nor_may_the_texts_of_one_batch_which_duckdb_does_not_count(cli, library, monkeypatch):
    monkeypatch.setattr(memory_limit, "HEADROOM", 200 << 20)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    # Of 1.5 GB, where nothing bounds them.
    query = "SELECT sum(len(repeat('0123456789', 1000000 + i))) FROM range(150) t(i)"
    assert_refused(cli("sql", library, query, "--memory-limit", "50MB"), saying="; narrow the statement, or raise")
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    assert cli("sql", library, query.replace("150", "5"), "--memory-limit", "50MB").code == 0


@pytest.mark.parametrize("query", ["SELECT repeat('x', 100000000)", "SELECT * FROM range(20000000)"])
def test_an_answer_that_nobody_can_read_is_refused(cli, library, query):
    assert_refused(cli("sql", library, query), saying="the answer is larger than 67,108,864 bytes; narrow it")


def test_a_column_is_named_by_its_text(cli, library):
    for name in ("text LIKE '%[/INST]%'", "a[i]", "[bold]"):
        assert name in cli("sql", library, f'SELECT 1 AS "{name}"').out


def test_a_reader_that_leaves_early_is_no_error(library):
    """As in `mnemodex sql … | head -1`."""
    command = [sys.executable, "-m", "mnemodex", "sql", str(library), "SELECT * FROM range(200000)", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_statement_that_cannot_be_stopped_does_not_hold_up_the_end_of_the_program():
    script = (
        "import atexit, sys, time\n"
        "atexit.register(print, 'waited')\n"
        "from mnemodex import __main__\n"
        "from mnemodex.retrievers.deadline import Call, Deadline\n"
        "def run():\n"
        "    try:\n"
        "        Call(lambda: time.sleep(60), lambda: None).result(Deadline(0.1))\n"
        "    finally:\n"
        "        print('said', end='')\n"
        "        sys.exit(2)\n"
        "__main__.run = run\n"
        "__main__.main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50)
    assert (ran.returncode, ran.stdout) == (2, "said")
