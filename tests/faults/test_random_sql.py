"""Attacks on SQL, changed and joined at random: run by `make faults`."""

from __future__ import annotations

import contextlib
import re

import pytest
from fuzzing import stream
from sql_attacks import ATTACKS

from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import QueryError

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

ROUNDS = 20000
JOINTS = ["", " ", "\n", ";", "(", ")", "'", '"', "--", "--\n", "/*", "*/", "$$", "\0", "\\", ",", "é", "U&'"]
WORDS = [
    "EXPLAIN ",
    "ANALYZE ",
    "SELECT ",
    "WITH x AS (",
    ") SELECT 1",
    "FROM ",
    "query(",
    "UNION ALL ",
    " RETURNING 1",
]


def changed(words, chance):
    """An attack's words with some left out, doubled, exchanged, or joined by others."""
    words = list(words)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(words) + 1)
        move = chance.randrange(4)
        if move == 0 or not words:
            words.insert(place, chance.choice(JOINTS + WORDS))
        elif move == 1:
            words.pop(min(place, len(words) - 1))
        elif move == 2:
            words[min(place, len(words) - 1)] = chance.choice(words)
        else:
            words = [*words[:place], chance.choice(JOINTS + WORDS), *words]
    return "".join(words)


def test_no_changed_attack_leaves_a_trace(library, tmp_path, monkeypatch, counts):
    chance = stream("sql")
    attacks = [re.split(r"(\W)", attack) for some in ATTACKS.values() for attack in some]
    opened = Memory(library)
    opened.sql("SHOW TABLES")
    state = opened.sql("SELECT view_name, sql FROM duckdb_views() ORDER BY 1").fetchall()
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "note").write_text("a secret")
    monkeypatch.chdir(tmp_path)
    for _ in range(ROUNDS):
        attack = changed(chance.choice(attacks), chance)
        ask = chance.choice([lambda text: opened.sql(text, seconds=5).fetchall(), opened.ids_where])
        counts["statements"] += 1
        with contextlib.suppress(QueryError):
            assert "a secret" not in str(ask(attack)), attack
        there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
        assert there == {".tmp", ".tmp/note"}, attack
    assert state == opened.sql("SELECT view_name, sql FROM duckdb_views() ORDER BY 1").fetchall()
