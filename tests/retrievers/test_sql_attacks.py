"""Statements of strangers: each is refused, and leaves files and views as they were."""

from __future__ import annotations

import pytest
from sql_attacks import ATTACKS

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import QueryError

STATE = (
    "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY 1",
    "FROM documents",
    "FROM duckdb_functions() ORDER BY ALL",
)


def test_there_are_hundreds_of_attacks():
    assert sum(map(len, ATTACKS.values())) >= 200 and all(len(set(some)) == len(some) for some in ATTACKS.values())


@pytest.mark.parametrize("kind", ATTACKS)
def test_no_attack_reads_writes_or_changes_anything(library, tmp_path, monkeypatch, kind):
    visible_to_python = [1]
    opened = Memory(library)
    # Of every table, so that none is named for the first time by an attack.
    for view in opened.sql("SHOW TABLES").fetchall():
        opened.sql(f'SELECT * FROM "{view[0]}" LIMIT 1')
    state = [opened.sql(query).fetchall() for query in STATE]
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "note").write_text("a secret")
    monkeypatch.chdir(tmp_path)
    answered = []
    for attack in ATTACKS[kind]:
        try:
            answered.append((attack, opened.sql(attack, seconds=20).fetchall()))
        except QueryError as error:
            assert "a secret" not in str(error) and "\n" not in str(error)
    assert answered == [] and visible_to_python
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [".tmp", ".tmp/note"]
    assert state == [opened.sql(query).fetchall() for query in STATE]
