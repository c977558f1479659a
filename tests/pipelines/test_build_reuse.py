"""Rows taken over: what was embedded or read before is not embedded or read again, wherever it is now."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from builds import manifest
from language_models import saved
from library import records, words_recipe, write_jsonl, write_triples

import mnemodex
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.lm.reader import StateReader
from mnemodex.pipelines import trial
from mnemodex.pipelines.verify import verify

pytestmark = pytest.mark.usefixtures("inline")

ROWS = records()[:12]
MORE = {"id": "more", "title": "More", "text": "A note that nobody has read before, about salt and slate."}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def notes(tmp_path):
    return write_jsonl(tmp_path / "notes" / "b.jsonl", ROWS).parent


@pytest.fixture
def recipe(notes, tmp_path, model):
    lm = {"tiny": {"model": model, "window": 32, "overlap": 8}}
    indexes = {"dense": {"type": "dense", "factory": "Flat"}}
    return words_recipe(notes, tmp_path / "memory", lm=lm, indexes=indexes)


@pytest.fixture
def asked(monkeypatch):
    """The texts and windows that the models were given since a test cleared it; and the encoder if it was loaded."""
    found = []
    load = Encoder.__init__
    monkeypatch.setattr(
        Encoder, "__init__", lambda self, *given, **named: found.append(self) or load(self, *given, **named)
    )
    tokenize, start = Encoder._tokenize, StateReader._start
    monkeypatch.setattr(Encoder, "_tokenize", lambda self, texts: found.extend(texts) or tokenize(self, texts))
    monkeypatch.setattr(StateReader, "_start", lambda self, *given: found.extend(given[0]) or start(self, *given))
    return found


def step(result, name):
    (found,) = [step for step in result.steps if step.name == name]
    return found


def numbers(memory):
    """Every vector and state by its id, as bytes."""
    opened = mnemodex.open(memory)
    vectors = opened.sql("SELECT chunk_id, vector FROM embeddings_minilm").fetchall()
    states = opened.sql("SELECT position, key, surprisal FROM lm_states_tiny").fetchall()
    return {key: np.array(vector, np.float32).tobytes() for key, vector in vectors} | {
        row[0]: row[1:] for row in states
    }


def renamed(notes):
    (notes / "b.jsonl").rename(notes / "zoo.jsonl")


def split(notes):
    write_jsonl(notes / "b.jsonl", ROWS[:5])
    write_jsonl(notes / "c.jsonl", ROWS[5:])


def in_another_order(notes):
    write_jsonl(notes / "b.jsonl", ROWS[::-1])


def prepended(notes):
    write_jsonl(notes / "b.jsonl", [ROWS[11], *ROWS[:11]])


def in_another_folder(notes):
    (notes / "deep").mkdir()
    (notes / "b.jsonl").rename(notes / "deep" / "b.jsonl")


def compressed(notes):
    (notes / "b.jsonl.gz").write_bytes(gzip.compress((notes / "b.jsonl").read_bytes()))
    (notes / "b.jsonl").unlink()


def written_otherwise(notes):
    lines = (json.dumps(dict(reversed(row.items())), ensure_ascii=True, indent=None) for row in ROWS)
    (notes / "b.jsonl").write_text("\n\n".join(lines))


@pytest.mark.parametrize(
    "change", [renamed, in_another_folder, split, in_another_order, prepended, compressed, written_otherwise]
)
def test_what_only_moves_is_neither_embedded_nor_read_again(recipe, notes, tmp_path, asked, change):
    first = mnemodex.build(recipe)
    before = numbers(tmp_path / "memory")
    assert step(first, "embeddings/minilm").rows_reused == 0 and len(asked) > 12
    change(notes)
    asked.clear()
    result = mnemodex.build(recipe)
    assert result.committed and asked == []
    for name in ("chunks", "embeddings/minilm", "lm_states/tiny"):
        found = step(result, name)
        assert found.computed >= 1 and found.rows_reused == found.rows_computed == found.rows
    assert numbers(tmp_path / "memory") == before
    assert verify(tmp_path / "memory").problems == []


@pytest.mark.parametrize("place", [0, 6, 12], ids=["in front", "amid", "behind"])
def test_a_line_more_costs_its_own_text_wherever_it_stands(recipe, notes, tmp_path, asked, place):
    mnemodex.build(recipe)
    before = numbers(tmp_path / "memory")
    write_jsonl(notes / "b.jsonl", [*ROWS[:place], MORE, *ROWS[place:]])
    asked.clear()
    result = mnemodex.build(recipe)
    texts = [given for given in asked if isinstance(given, str)]
    assert texts == [f"{MORE['title']}\n{MORE['text']}"]
    vectors, states = step(result, "embeddings/minilm"), step(result, "lm_states/tiny")
    assert (vectors.rows_computed, vectors.rows_reused) == (13, 12)
    chunks = step(result, "chunks")
    assert (chunks.rows_computed, chunks.rows_reused) == (13, 12)
    opened = mnemodex.open(tmp_path / "memory")
    of_it = "doc_id IN (SELECT doc_id FROM documents d WHERE d.key = 'more')"
    ((own,),) = opened.sql(f"SELECT count(*) FROM lm_states_tiny WHERE {of_it}").fetchall()
    assert states.rows_computed - states.rows_reused == own > 0
    after = numbers(tmp_path / "memory")
    assert {key: after[key] for key in before} == before and len(after) > len(before)
    assert verify(tmp_path / "memory").problems == []


def test_chunks_of_moved_documents_are_those_of_a_fresh_build(recipe, notes, tmp_path):
    recipe |= {"chunks": {"by": "tokens", "size": 12, "overlap": 4}, "indexes": {"words": {"type": "bm25"}}}
    del recipe["lm"]
    mnemodex.build(recipe)
    write_jsonl(notes / "a.jsonl", [ROWS[9], {"id": "blank", "text": " "}, MORE, *ROWS[:9]])
    write_jsonl(notes / "b.jsonl", ROWS[10:])
    result = mnemodex.build(recipe)
    chunks = step(result, "chunks")
    assert 0 < chunks.rows_reused < chunks.rows == chunks.rows_computed
    fresh = mnemodex.build({**recipe, "memory": str(tmp_path / "fresh")})
    assert result.warnings == fresh.warnings
    grown, fresh = mnemodex.open(tmp_path / "memory"), mnemodex.open(tmp_path / "fresh")
    assert grown.sql("SELECT * FROM chunks").fetchall() == fresh.sql("SELECT * FROM chunks").fetchall()


def test_a_line_that_changes_costs_its_own_text(recipe, notes, asked):
    mnemodex.build(recipe)
    write_jsonl(notes / "b.jsonl", [*ROWS[:3], {**ROWS[3], "text": "Changed."}, *ROWS[4:]])
    asked.clear()
    result = mnemodex.build(recipe)
    assert [given for given in asked if isinstance(given, str)] == [f"{ROWS[3]['title']}\nChanged."]
    assert step(result, "embeddings/minilm").rows_reused == 11


def test_other_chunks_are_embedded_only_where_they_are_others(recipe, notes, asked):
    """Some of the notes are longer than a window of tokens."""
    mnemodex.build(recipe)
    asked.clear()
    result = mnemodex.build({**recipe, "chunks": {"by": "tokens", "size": 36}})
    vectors = step(result, "embeddings/minilm")
    assert 0 < vectors.rows_reused < vectors.rows
    assert len([given for given in asked if isinstance(given, str)]) == vectors.rows - vectors.rows_reused
    assert step(result, "lm_states/tiny").rows_reused == step(result, "lm_states/tiny").rows


def test_what_decides_the_vectors_takes_none_over(recipe, asked, monkeypatch):
    monkeypatch.setattr(trial, "_here", set())
    mnemodex.build(recipe)
    asked.clear()
    result = mnemodex.build({**recipe, "embed": {"minilm": {"with_title": False}}})
    assert step(result, "embeddings/minilm").rows_reused == 0
    # The other settings are tried on two texts first.
    assert len([given for given in asked if isinstance(given, str)]) == 2 + 12


def test_a_salt_makes_other_ids_and_takes_none_over(recipe, asked):
    mnemodex.build(recipe)
    asked.clear()
    result = mnemodex.build({**recipe, "id_salt": "pepper"})
    assert step(result, "embeddings/minilm").rows_reused == 0
    assert len([given for given in asked if isinstance(given, str)]) == 12


def test_damaged_vectors_are_not_taken_over(recipe, notes, tmp_path, asked):
    mnemodex.build(recipe)
    before = numbers(tmp_path / "memory")
    (part,) = manifest(tmp_path / "memory").tables["embeddings/minilm"].partitions
    path = tmp_path / "memory" / part.file(".npy").path
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    renamed(notes)
    asked.clear()
    result = mnemodex.build(recipe)
    assert step(result, "embeddings/minilm").rows_reused == 0
    assert len([given for given in asked if isinstance(given, str)]) == 12
    assert numbers(tmp_path / "memory") == before


def test_damaged_surprisals_are_not_taken_over(recipe, notes, tmp_path, asked):
    """The keys, which are in a file of their own, and the ids are sound."""
    mnemodex.build(recipe)
    before = numbers(tmp_path / "memory")
    (part,) = manifest(tmp_path / "memory").tables["lm_states/tiny"].partitions
    path = tmp_path / "memory" / part.file(".parquet").path
    group = pq.ParquetFile(path).metadata.row_group(0)
    (column,) = (group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "surprisal")
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    renamed(notes)
    asked.clear()
    result = mnemodex.build(recipe)
    assert step(result, "lm_states/tiny").rows_reused == 0 and asked != []
    assert numbers(tmp_path / "memory") == before


def test_names_of_a_graph_are_embedded_once(recipe, notes, tmp_path, asked):
    del recipe["lm"]
    triples = write_triples(tmp_path / "triples.jsonl", [*ROWS, MORE])
    recipe |= {"triples": {"from": str(triples)}, "indexes": {"walk": {"type": "graph"}}}
    mnemodex.build(recipe)
    write_jsonl(notes / "a.jsonl", [MORE])
    renamed(notes)
    asked.clear()
    result = mnemodex.build(recipe)
    for of in ("facts", "entities"):
        names = step(result, f"embeddings/minilm/{of}")
        assert 0 < names.rows_computed - names.rows_reused < 8
    assert len(asked) < 24


def test_the_command_line_tells_of_rows_that_were_taken_over(recipe, notes, tmp_path, cli):
    path = tmp_path / "notes.json"
    path.write_text(json.dumps(recipe))
    assert cli("build", path).code == 0
    renamed(notes)
    told = {step["name"]: step for step in cli("build", path, "--json").json["steps"]}
    assert (told["embeddings/minilm"]["rows_computed"], told["embeddings/minilm"]["rows_reused"]) == (12, 12)
