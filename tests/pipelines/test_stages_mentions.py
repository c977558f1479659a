"""Mentions against plain Python, and what `verify` says of triples and mentions that were changed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from builds import manifest
from hypothesis import given
from hypothesis import strategies as st
from library import write_jsonl
from workshop import run_stage

import mnemodex
from mnemodex.pipelines.checks.partition import CheckedPartition, check_parents
from mnemodex.pipelines.checks.tables import check_mentions, check_triples
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.stages.mentions import MentionStage
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import open_store
from mnemodex.schemas.tables import TRIPLES, spec_of

NAMES = st.sampled_from(["ada", "Ada", "ADA", "Ben", "ben", "C"])


def mentions(triples, size):
    """Run the stage over (chunk, subject, object) in batches; an entity is its name in lower case."""
    ids = {name: number for number, name in enumerate(("ada", "ben", "c"))}
    batches = [
        pa.record_batch(
            {
                "chunk_id": pa.array([row[0] for row in part], pa.int64()),
                "subject": pa.array([row[1] for row in part], pa.string()),
                "object": pa.array([row[2] for row in part], pa.string()),
                "subject_id": pa.array([ids[row[1].lower()] for row in part], pa.int64()),
                "object_id": pa.array([ids[row[2].lower()] for row in part], pa.int64()),
            },
            schema=pa.schema([spec_of(TRIPLES).schema.field(name) for name in MentionStage.columns]),
        )
        for part in (triples[start : start + size] for start in range(0, len(triples), size))
    ]
    made = run_stage(MentionStage(NoSettings()), batches)
    return [tuple(row.values()) for row in made.to_pylist()], ids


@given(st.lists(st.tuples(st.integers(1, 4), NAMES, NAMES), max_size=30), st.integers(1, 7))
def test_mentions_are_those_of_plain_python_whatever_the_batches(triples, size):
    triples = sorted((row for row in triples if row[1].lower() != row[2].lower()), key=lambda row: row[0])
    found, ids = mentions(triples, size)
    expected = {}
    for chunk, *names in triples:
        for name in names:
            _, _, first, count = expected.get((chunk, name.lower()), (0, 0, name, 0))
            expected[chunk, name.lower()] = (ids[name.lower()], chunk, first, count + 1)
    assert found == list(expected.values())


@pytest.fixture
def memory(inline, tmp_path):
    notes = [{"id": str(n), "title": f"Note {n}", "text": "Words."} for n in range(3)]
    lines = [{"id": str(n), "triples": [["Ada", "met", f"Ben {n}"], ["Ada", "left", f"Ben {n}"]]} for n in range(3)]
    mnemodex.build(
        {
            "source": {"path": str(write_jsonl(tmp_path / "notes.jsonl", notes))},
            "memory": str(tmp_path / "memory"),
            "indexes": {},
            "triples": {"from": str(write_jsonl(tmp_path / "openie.jsonl", lines))},
        }
    )
    return tmp_path / "memory"


def problems(memory, column, change):
    """What is said of the triples and mentions after a column of the triples was changed in place."""
    store, _ = open_store(memory)
    found = manifest(memory)
    triples, mentioned = (
        CheckedPartition(store, found, found.tables[name], found.tables[name].partitions[0])
        for name in ("triples", "mentions")
    )
    path = memory / triples.part.file(".parquet").path
    table = parquet.read(path)
    values = change(table[column].to_pylist())
    place, field = table.schema.get_field_index(column), spec_of(TRIPLES).schema.field(column)
    parquet.write(path, spec_of(TRIPLES), table.set_column(place, field, [pa.array(values, field.type)]).to_batches())
    return " ".join([*check_parents(triples), *check_triples(triples), *check_mentions(mentioned)])


@pytest.mark.parametrize(
    ("column", "change", "problem"),
    [
        ("chunk_id", lambda ids: [1, *ids[1:]], "chunk_id 1 is not in chunks (1 rows)"),
        ("chunk_id", lambda ids: ids[::-1], "not in the order of the chunks"),
        ("ordinal", lambda places: [1, 0, *places[2:]], "not in the order of the chunks"),
        ("triple_id", lambda ids: [ids[0] + 1, *ids[1:]], "a triple_id is not the hash"),
        ("subject_id", lambda ids: [ids[0] + 1, *ids[1:]], "an id of 'Ada', 'met', 'Ben 0' is not its hash"),
        ("object", lambda names: ["Cid", *names[1:]], "an id of 'Ada', 'met', 'Cid' is not its hash"),
        ("fact_id", lambda ids: [5, *ids[1:]], "an id of 'Ada', 'met', 'Ben 0' is not its hash"),
        (
            "subject_id",
            lambda ids: [5, *ids[1:]],
            "mentions partition notes.jsonl-00000: its mentions are not those of its triples",
        ),
    ],
)
def test_changed_triples_are_found(memory, column, change, problem):
    assert problem in problems(memory, column, change)


def test_whole_triples_have_no_problems(memory):
    assert problems(memory, "predicate", lambda words: words) == ""
