"""SQL of strangers in processes of its own."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from small_memory import write_corpus
from sql_attacks import ATTACKS

import mnemodex
from mnemodex.deploy import statements as module
from mnemodex.deploy.access import OPEN
from mnemodex.deploy.memories import Served
from mnemodex.deploy.operations.sql import LONGEST, SqlForm, sql
from mnemodex.deploy.settings import Limits
from mnemodex.deploy.statements import Statements
from mnemodex.schemas.errors import AccessError, BusyError, QueryError


@pytest.fixture(scope="module")
def statements():
    with contextlib.closing(Statements(seconds=60, rows=100, size=1 << 20)) as made:
        yield made


@pytest.fixture(scope="module")
def served(memory):
    return Served("notes", memory, Limits())


def ask(served, statements, query, access=OPEN):
    return sql(served, SqlForm(query=query), access, statements=statements)


def test_an_answer_is_that_of_the_command_line(served, statements, cli, library):
    query = (
        "SELECT chunk_id, c.doc_id, d.key, {'a': [1, 2]} AS pair FROM chunks c JOIN documents d USING (doc_id) "
        "ORDER BY chunk_id LIMIT 5"
    )
    answer = ask(served, statements, query)
    assert (answer.pop("memory"), answer.pop("snapshot"), answer.pop("truncated")) == ("notes", served.snapshot, False)
    assert answer == cli("sql", library, query, "--json").json
    assert all(isinstance(row[0], str) for row in answer["rows"])


def test_functions_ask_the_indexes(served, statements, memory):
    answer = ask(served, statements, "SELECT ngram_count('ngrams', 'the harbour')")
    assert answer["rows"] == [[int(memory.retriever("ngrams").count(["the harbour"])[0])]]


def test_too_many_rows_are_cut_and_it_says_so(served, statements):
    answer = ask(served, statements, "SELECT range AS n FROM range(1000000000000)")
    assert answer["truncated"] and answer["rows"] == [[n] for n in range(100)]
    answer = ask(served, statements, "SELECT range AS n FROM range(100)")
    assert not answer["truncated"] and len(answer["rows"]) == 100


def test_too_many_bytes_are_cut_and_it_says_so(served, statements):
    answer = ask(served, statements, "SELECT range AS n, repeat('x', 100000) AS text FROM range(50)")
    assert answer["truncated"] and [row[0] for row in answer["rows"]] == list(range(10))
    with pytest.raises(QueryError, match="a row has more than"):
        ask(served, statements, "SELECT repeat('x', 2000000)")


def test_a_statement_that_takes_too_much_memory_harms_no_other_one(served, monkeypatch):
    monkeypatch.setattr(module, "HEADROOM", 300 << 20)
    monkeypatch.setattr(module, "MEMORY", "100MB")
    with contextlib.closing(Statements(seconds=60)) as made:
        with pytest.raises(QueryError, match="SQL: "):
            ask(served, made, "SELECT repeat('x', 20000000) || n FROM range(1000) t(n)")
        assert ask(served, made, "SELECT 1")["rows"] == [[1]]


def test_a_statement_that_takes_too_long_is_stopped(served):
    with contextlib.closing(Statements(seconds=2)) as made:
        with pytest.raises(QueryError, match="narrow it"):
            ask(served, made, "SELECT count(*) FROM range(1000000000000) a, range(1000000) b")
        assert ask(served, made, "SELECT 1")["rows"] == [[1]]


def test_processes_are_kept_and_end_with_their_statements(served):
    with contextlib.closing(Statements(seconds=60)) as made:
        first = int(ask(served, made, "SELECT current_connection_id()")["rows"][0][0])
        with pytest.raises(QueryError):
            ask(served, made, "SELECT nothing")
        assert int(ask(served, made, "SELECT current_connection_id()")["rows"][0][0]) > first
        (process,) = made._idle
    assert process._process.poll() is not None


def test_a_later_snapshot_has_a_process_of_its_own(build, tmp_path):
    write_corpus(tmp_path / "notes", "a.jsonl", range(2))
    build()
    with contextlib.closing(Statements(seconds=60)) as made:
        before = Served("memory", mnemodex.open(tmp_path / "memory"), Limits())
        assert ask(before, made, "SELECT count(*) FROM documents")["rows"] == [[count(before)]]
        write_corpus(tmp_path / "notes", "b.jsonl", range(2, 5))
        build()
        after = Served("memory", mnemodex.open(tmp_path / "memory"), Limits())
        assert count(after) > count(before)
        for one in (after, before, after):
            assert ask(one, made, "SELECT count(*) FROM documents")["rows"] == [[count(one)]]


def count(served):
    return served.memory.sql("SELECT count(*) FROM documents").fetchall()[0][0]


def test_more_statements_than_run_and_wait_are_refused(served, statements, monkeypatch):
    running, end = [], Event()

    def hold(query):
        running.append(query)
        assert end.wait(60)

    made = Statements(seconds=60)
    monkeypatch.setattr(made, "_process", lambda memory: contextlib.nullcontext(Holding(hold)))
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(made.run, served.memory, f"SELECT {number}") for number in range(4)]
        while len(running) < 4:
            assert not any(future.done() for future in futures)
            time.sleep(0.01)
        with pytest.raises(BusyError, match="Try again later"):
            made.run(served.memory, "SELECT 5")
        end.set()
        for future in futures:
            future.result()
    assert made.run(served.memory, "SELECT 6") is None


class Holding:
    """A process whose statements end when the test says so."""

    def __init__(self, hold):
        self._hold = hold

    def ask(self, query, form, seconds):
        return self._hold(query)


def test_sql_that_is_off_or_not_allowed_is_refused(served, statements):
    with pytest.raises(AccessError, match="start it with --sql"):
        ask(served, None, "SELECT 1")
    for changes in ({"scopes": frozenset({"search"})}, {"memories": frozenset({"a"})}, {"where": "d.key = 'a'"}):
        with pytest.raises(AccessError):
            ask(served, statements, "SELECT 1", replace(OPEN, **changes))


def test_a_statement_that_is_too_long_is_refused(served, statements):
    with pytest.raises(QueryError, match=f"at most {LONGEST}"):
        ask(served, statements, "SELECT 1 --" + "x" * LONGEST)


@pytest.mark.parametrize("query", ["", "SELECT", "SELECT nothing", "SELECT 'a\ud800'", "SELECT 1/'a'", "\x00"])
def test_what_is_no_statement_is_refused(served, statements, query):
    with pytest.raises(QueryError):
        ask(served, statements, query)


@pytest.mark.parametrize("kind", ATTACKS)
def test_attacks_are_refused_and_name_no_path_of_the_machine(served, statements, library, kind):
    for attack in ATTACKS[kind]:
        with pytest.raises(QueryError) as refused:
            ask(served, statements, attack)
        assert str(library) not in str(refused.value)
    assert ask(served, statements, "SELECT count(*) > 0 FROM documents")["rows"] == [[True]]
