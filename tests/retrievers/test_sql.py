"""SQL over a snapshot: what it shows, what it computes, and what it refuses."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_memory import build_inline, write_corpus

import mnemodex
from mnemodex.indexers.models import hashes
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.sql import Connection
from mnemodex.schemas.errors import CorruptFileError, QueryError
from mnemodex.schemas.tables import TableKey, spec_of


@pytest.fixture(scope="module")
def connection(memory):
    """As the command line has it, for statements of strangers."""
    with contextlib.closing(
        Connection(memory.snapshot, memory.encoder, memory.retriever, memory_limit="1GB")
    ) as opened:
        yield opened


def rows(connection, query):
    return connection.fetch(query, seconds=20).to_pylist()


def test_every_table_and_the_catalogue_are_views(memory):
    found = {name for (name,) in memory.sql("SHOW TABLES").fetchall()}
    graph = {"triples", "mentions", "facts", "entities", "synonyms", "edges"}
    texts = ("facts", "entities", "questions", "question_answers")
    vectors = {"embeddings_minilm", *(f"embeddings_minilm_{name}" for name in texts)}
    states = {"lm_tokens_tiny", "lm_states_tiny"}
    pairs = {"qa_pairs", "qa_candidates", "questions"}
    assert found == {
        "documents",
        "history",
        "chunks",
        "files",
        "indexes",
        "shards",
        "snapshots",
        "errors",
        *graph,
        *vectors,
        *states,
        *pairs,
    }


def test_a_chunk_is_what_its_offsets_say_of_its_document(memory):
    wrong = memory.sql(
        'SELECT count(*) FROM chunks c JOIN documents d USING (doc_id) WHERE d.text[c.start + 1 : c."end"] <> c.text'
    ).fetchall()
    assert wrong == [(0,)]


def test_the_catalogue_is_the_manifest(memory, connection):
    manifest = memory.snapshot.manifest
    tables = {
        row["table_name"]: row
        for row in rows(
            connection,
            "SELECT table_name, sum(bytes)::BIGINT AS bytes, count(DISTINCT partition) AS parts FROM files GROUP BY 1",
        )
    }
    assert {name: (row["bytes"], row["parts"]) for name, row in tables.items()} == {
        name.replace("/", "_"): (table.bytes, len(table.partitions)) for name, table in manifest.tables.items()
    }
    indexes = {row["name"]: row for row in rows(connection, "SELECT * FROM indexes")}
    assert list(indexes) == list(manifest.indexes)
    for name, entry in manifest.indexes.items():
        row = indexes[name]
        assert (row["type"], row["rows"], row["bytes"]) == (entry.type, entry.rows, entry.bytes)
        assert json.loads(row["settings"]) == entry.settings
        assert row["recall"] == (entry.recall.recall if entry.recall else None)
    counted = rows(connection, "SELECT index_name, count(*) AS shards FROM shards GROUP BY 1")
    assert {row["index_name"]: row["shards"] for row in counted} == {
        name: len(entry.shards) for name, entry in manifest.indexes.items() if entry.shards
    }
    assert rows(connection, "SELECT name, parent, chunks FROM snapshots") == [
        {"name": "000001", "parent": None, "chunks": 119}
    ]


@pytest.mark.parametrize("function", ["embed", "embed_minilm"])
def test_vectors_are_compared_with_a_question(memory, connection, function):
    found = rows(
        connection,
        "SELECT chunk_id, array_cosine_similarity(vector::FLOAT[384], "
        f"{function}('apples stored in straw')::FLOAT[384]) AS score FROM embeddings_minilm "
        f"ORDER BY array_cosine_similarity(vector::FLOAT[384], {function}('apples stored in straw')::FLOAT[384]) DESC "
        "LIMIT 5",
    )
    hits = memory.retriever("flat").search(["apples stored in straw"], 5)
    np.testing.assert_allclose([row["score"] for row in found], hits.scores[0], atol=1e-5)
    assert found[0]["chunk_id"] == hits.ids[0, 0]


def test_questions_from_a_table_and_missing_ones_are_embedded(connection):
    found = rows(connection, "SELECT t, len(embed(t)) AS n FROM (VALUES ('a'), ('b'), ('a'), (NULL)) v(t) ORDER BY t")
    assert [(row["t"], row["n"]) for row in found] == [("a", 384), ("a", 384), ("b", 384), (None, None)]


def test_another_model_is_told_by_name(library, monkeypatch):
    opened = Memory(library)
    monkeypatch.setattr(hashes, "model_hash", lambda name: "0" * 64)
    with (
        contextlib.closing(Connection(opened.snapshot, opened.encoder, opened.retriever)) as connection,
        pytest.raises(QueryError, match="ModelError: embedding 'minilm' was built with another"),
    ):
        connection.fetch("SELECT embed('a')", seconds=20)


@pytest.mark.parametrize(
    "query",
    [
        "FROM chunks LIMIT 1",
        "VALUES (1)",
        "WITH long AS (SELECT * FROM chunks WHERE tokens > 30) SELECT count(*) FROM long",
        "DESCRIBE chunks",
        "SUMMARIZE chunks",
        "EXPLAIN SELECT * FROM chunks",
        "EXPLAIN ANALYZE SELECT count(*) FROM chunks",
        "explain (format json) SELECT 1",
        "EXPLAIN (ANALYZE, FORMAT 'JSON') SELECT 1",
        "SELECT 1;",
        "/* a comment */ SELECT 1 -- and another",
        'SELECT * FROM CHUNKS, "Documents" LIMIT 1',
        "SELECT ';' AS semicolon",
    ],
)
def test_what_only_reads_is_answered(connection, query):
    assert rows(connection, query)


READERS = [
    "read_csv('/etc/passwd')",
    "read_csv_auto('/etc/passwd')",
    "read_text('/etc/passwd')",
    "read_blob('/etc/passwd')",
    "read_json('/etc/passwd')",
    "read_parquet('/etc/passwd')",
    "parquet_metadata('/etc/passwd')",
    "sniff_csv('/etc/passwd')",
    "glob('/etc/*')",
    "'/etc/passwd'",
    "'https://example.org/x.csv'",
    "read_csv('https://example.org/x.csv')",
    "visible_to_python",
    "arrow_scan(1, 1, 1)",
    "pandas_scan(1)",
    "enable_logging('QueryLog', storage='file', storage_path='log')",
    "enable_profiling(save_location='profile')",
    "query('DROP VIEW chunks')",
]


@pytest.mark.parametrize("reader", READERS)
def test_nothing_but_the_memory_can_be_read(connection, reader):
    visible_to_python = [1, 2, 3]
    with pytest.raises(QueryError, match=r"^SQL: ") as caught:
        connection.fetch(f"SELECT * FROM {reader}", seconds=20)
    assert "\n" not in str(caught.value)
    del visible_to_python


STATEMENTS = [
    "COPY (SELECT 1) TO 'out.csv'",
    "COPY chunks TO 'out.parquet'",
    "EXPORT DATABASE 'out'",
    "ATTACH 'other.db'",
    "DETACH memory",
    "SET threads = 1",
    "RESET threads",
    "SET enable_external_access = true",
    "PRAGMA version",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE t (a INT)",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MACRO m(a) AS a",
    "DROP VIEW chunks",
    "INSERT INTO chunks SELECT * FROM chunks",
    "DELETE FROM chunks",
    "UPDATE chunks SET title = ''",
    "ALTER TABLE chunks RENAME TO c",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "USE memory",
    "CREATE SECRET s (TYPE s3)",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW chunks",
    "EXPLAIN DROP VIEW chunks",
    "EXPLAIN ANALYZE DROP VIEW chunks",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "explain (analyze, format json) CREATE TABLE t AS SELECT 1",
    "EXPLAIN /* x */ ANALYZE DROP VIEW chunks",
    "/* x */ EXPLAIN ANALYZE DROP VIEW chunks",
    "EXPLAIN ANALYZE COPY chunks TO 'out.csv'",
    "-- explain (format\nEXPLAIN ANALYZE CREATE OR REPLACE VIEW documents AS -- )\n SELECT 1",
    "-- explain (format\nEXPLAIN ANALYZE DROP VIEW documents -- )\n SELECT 1",
    "EXPLAIN ANALYZE INSERT INTO chunks SELECT * FROM chunks",
    "EXPLAIN EXPLAIN ANALYZE DROP VIEW chunks",
    "",
    " -- nothing",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_only_one_select_is_taken(connection, tmp_path, monkeypatch, statement):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError, match=r"exactly one SELECT statement|^SQL: Parser Error"):
        connection.fetch(statement, seconds=20)
    assert list(tmp_path.iterdir()) == []
    assert rows(connection, "SELECT count(*) AS n FROM chunks") == [{"n": 119}]


@pytest.mark.parametrize("query", ["SELECT * FROM nowhere", "SELECT nope FROM chunks", "SELEC 1", "SELECT 1/'a'"])
def test_a_wrong_statement_is_one_line(connection, query):
    with pytest.raises(QueryError, match=r"^SQL: ") as caught:
        connection.fetch(query, seconds=20)
    assert "\n" not in str(caught.value)


def test_an_endless_statement_is_stopped(connection):
    started = time.perf_counter()
    with pytest.raises(QueryError, match=r"ran longer than 0\.2 s and was stopped"):
        connection.fetch("SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b", seconds=0.2)
    assert time.perf_counter() - started < 10
    assert rows(connection, "SELECT 1 AS a") == [{"a": 1}]


def test_a_statement_that_the_clock_of_duckdb_stops_first_says_the_same(connection, monkeypatch):
    waits = threading.current_thread()
    left = property(lambda _: 30.0 if threading.current_thread() is waits else 0.1)
    monkeypatch.setattr("mnemodex.retrievers.deadline.Deadline.left", left)
    with pytest.raises(QueryError, match=r"^the statement ran longer than 60 s and was stopped; narrow it"):
        connection.fetch("SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b", seconds=60)


def test_a_statement_that_wants_too_much_memory_fails_alone(memory):
    with contextlib.closing(
        Connection(memory.snapshot, memory.encoder, memory.retriever, memory_limit="50MB")
    ) as small:
        with pytest.raises(QueryError, match="Out of Memory"):
            small.fetch("SELECT list(a) FROM range(100000000) t(a)", seconds=60)
        assert rows(small, "SELECT 1 AS a") == [{"a": 1}]


def test_the_python_api_refuses_the_same(memory):
    for statement in ("DROP VIEW chunks", "SELECT * FROM read_csv('/etc/passwd')", "SELECT 1; SELECT 2"):
        with pytest.raises(QueryError):
            memory.sql(statement)


def test_an_answer_is_rows_in_the_form_that_is_asked_for(memory):
    answer = memory.sql("SELECT i AS a, sum(i) AS s, 'x' AS a FROM range(30) r(i) GROUP BY i ORDER BY i")
    assert answer.columns == ["a", "s", "a_1"] and len(answer) == 30
    assert answer.fetchall()[:2] == [(0, 0, "x"), (1, 1, "x")] and type(answer.fetchall()[1][1]) is int
    assert answer.fetchone() == (0, 0, "x") and memory.sql("SELECT 1 WHERE false").fetchone() is None
    assert answer.to_df().a.tolist() == answer.arrow()["a"].to_pylist() == list(range(30))
    assert repr(answer).endswith("[20 of 30 rows]") and repr(memory.sql("SELECT 7")).endswith("[1 rows]")


@pytest.mark.parametrize(
    "view", ["documents", "chunks", "triples", "mentions", "facts", "entities", "edges", "synonyms", "errors"]
)
def test_a_view_without_rows_is_there(tmp_path, view):
    write_corpus(tmp_path / "source", "a.jsonl", range(3))
    build_inline(tmp_path / "source", tmp_path / "memory", {"words": {"type": "bm25"}})
    with_rows = view in {"documents", "chunks"}
    answer = mnemodex.open(tmp_path / "memory").sql(f"SELECT * FROM {view}")
    assert bool(len(answer)) == with_rows and answer.columns == spec_of(TableKey(view)).schema.names


@pytest.mark.parametrize("query", ["SELECT '\ud800'", "SELECT 1 -- \udfff", 5, None, {"title": "x"}, b"SELECT 1"])
def test_what_is_no_text_is_refused(memory, query):
    with pytest.raises(QueryError, match=r"lone surrogate|not a string"):
        memory.sql(query)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "5", None, True])
def test_seconds_are_a_positive_number(memory, seconds):
    with pytest.raises(QueryError, match=r"^seconds is .*; give a positive number"):
        memory.sql("SELECT 1", seconds=seconds)


def test_several_threads_ask_at_once(library):
    opened = Memory(library)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: opened.sql(f"SELECT {n}, count(*) FROM chunks").fetchall(), range(40)))
    assert found == [[(n, 119)] for n in range(40)]


@pytest.mark.parametrize("query", ["SELECT error('late')", "SELECT 'a'::INT + i FROM range(9) t(i)"])
def test_a_statement_that_fails_when_it_runs_is_a_query_error(memory, query):
    with pytest.raises(QueryError, match=r"^SQL: "):
        memory.sql(query).fetchall()


@pytest.mark.parametrize(
    "expression",
    [
        "sum(len(embed(i::VARCHAR)))",
        "sum(ngram_count('ngrams', repeat(i || ' harbour ', 5000)))",
        "levenshtein(repeat('a', 30000), repeat('b', 30000))",
        "count(sleep_ms(60000))",
        "(FROM json_execute_serialized_sql(json_serialize_sql('SELECT count(sleep_ms(4000))')))",
    ],
    ids=["embed", "ngram_count", "one-call", "sleep", "inner-connection"],
)
def test_whatever_takes_the_time_the_caller_has_it_back(memory, expression):
    memory.sql("SELECT len(embed('a')), ngram_count('ngrams', 'a')")
    started = time.monotonic()
    with pytest.raises(QueryError, match=r"ran longer than 0\.3 s and was stopped"):
        memory.sql(f"SELECT {expression} FROM range(100000) t(i) LIMIT 1", seconds=0.3)
    assert time.monotonic() - started < 20
    assert memory.sql("SELECT 1").fetchall() == [(1,)]


def test_one_slow_filter_does_not_hold_the_others(library, monkeypatch):
    monkeypatch.setattr("mnemodex.retrievers.sql.SECONDS", 3.0)
    opened = Memory(library)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(opened.ids_where, "(SELECT count(*) FROM range(1000000) a, range(10000000) b) > 0")
        assert len(opened.ids_where("true")) == 119
        with pytest.raises(QueryError, match=r"ran longer than 3 s and was stopped"):
            slow.result()


def test_only_the_tables_that_a_statement_names_are_opened(library, monkeypatch):
    opened = Memory(library)
    opened_files = []
    local = opened.snapshot.store.files.local
    monkeypatch.setattr(
        opened.snapshot.store.files, "local", lambda entry: opened_files.append(entry.path) or local(entry)
    )
    opened.sql("SELECT count(*) FROM documents").fetchall()
    assert opened_files and all(path.startswith("tables/documents/") for path in opened_files)


def test_a_damaged_table_is_not_shown(tmp_path, library):
    import shutil

    shutil.copytree(library, tmp_path / "copy")
    file = next((tmp_path / "copy" / "tables" / "chunks").glob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptFileError, match="differs from its checksum"):
        Memory(tmp_path / "copy").sql("SELECT * FROM chunks")


def test_a_memory_does_not_live_on_in_its_functions(library):
    import weakref

    opened = Memory(library)
    opened.sql("SELECT len(embed('a'))").fetchall()
    gone = weakref.ref(opened)
    del opened
    gc.collect()
    assert gone() is None
