"""What `verify` finds where every checksum is right."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import MemoryNotFoundError
from mnemodex.schemas.manifest import Artifact, Artifacts
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.store import close_marker, open_store
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def memory(small_memory, tmp_path):
    return shutil.copytree(small_memory / "memory", tmp_path / "memory")


def forge(memory: Path, place: str, ending: str, change) -> None:
    """Change one file of the current snapshot, and put its new checksum in its marker and in a new snapshot."""
    store, manifest = open_store(memory)
    kept = [entry.partitions for entry in manifest.tables.values()]
    kept += [entry.shards for entry in manifest.indexes.values()]
    artifact = next(item for items in kept for item in items if item.place.startswith(place))
    path = artifact.file(ending).path
    change(memory / path)
    data = (memory / path).read_bytes()
    forged = artifact.model_dump(mode="json")
    for entry in forged["files"]:
        if entry["path"] == path:
            entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    changed = Artifact.model_validate(forged)
    (memory / artifact.marker).write_bytes(close_marker(changed))
    # Documents that nothing is dropped of are named twice: as they were read, and as they are kept.
    assert [*manifest.artifacts()].count(artifact) == (2 if place == "tables/documents" else 1)
    store.commit(
        manifest.replaced(lambda kept: Artifacts(changed if part == artifact else part for part in kept)),
        former=manifest,
    )


def column(table, name, change):
    """A change of one column's values, for `forge`."""

    def rewrite(path):
        rows = parquet.read(path)
        values = rows[name].to_pylist()
        change(values)
        field = table.schema.field(name)
        changed = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
        parquet.write(path, table, changed.to_batches())

    return rewrite


def array(change):
    """A change of an array in place, for `forge`."""

    def rewrite(path):
        values = np.load(path)
        change(values)
        np.save(path, values)

    return rewrite


def put(place, value):
    def change(values):
        values[place] = value

    return change


def swap(values):
    values[0], values[1] = values[1].copy() if isinstance(values, np.ndarray) else values[1], values[0]


def swap_different(values):
    """Swap the first value with one that is not equal."""
    other = next(place for place, value in enumerate(values) if value != values[0])
    values[0], values[other] = values[other], values[0]


DOCUMENTS, CHUNKS, FACTS, ENTITIES = (spec_of(TableKey(name)) for name in ("documents", "chunks", "facts", "entities"))
VECTORS = spec_of(TableKey("embeddings", "minilm")).sized(384)
NAMES = spec_of(TableKey("embeddings", "minilm", "facts")).sized(384)
PAIRS = spec_of(TableKey("ngram_pairs", "spans"))
ASKED, QUESTIONS = (spec_of(TableKey(name)) for name in ("qa_pairs", "questions"))
INDEX = "indexes/flat"
TOKENS = spec_of(TableKey("lm_tokens", "tiny"))
STATES = spec_of(TableKey("lm_states", "tiny")).sized(32)
FACTS_OF = "tables/embeddings/minilm/facts"


@pytest.mark.parametrize(
    ("place", "ending", "change", "problem"),
    [
        ("tables/documents", ".parquet", column(DOCUMENTS, "title", put(0, "other")), "the doc_id of 'd0' is not"),
        ("tables/documents", ".parquet", column(DOCUMENTS, "key", put(0, "other")), "the doc_id of 'other' is not"),
        ("tables/chunks", ".parquet", column(CHUNKS, "text", put(1, "other")), "is not its text from 0 to"),
        ("tables/chunks", ".parquet", column(CHUNKS, "chunk_id", put(1, 7)), "a chunk_id is not the hash"),
        ("tables/chunks", ".parquet", column(CHUNKS, "doc_id", put(1, 7)), "doc_id 7 is not in documents"),
        ("tables/embeddings", ".npy", array(put((2, 3), 0.5)), "the Parquet and .npy vectors differ"),
        ("tables/embeddings", ".parquet", column(VECTORS, "chunk_id", swap), "its chunk_ids are not those of"),
        (FACTS_OF, ".parquet", column(NAMES, "fact_id", swap), "its fact_ids are not"),
        ("tables/facts", ".parquet", column(FACTS, "predicate", put(0, "other")), "is not its hash"),
        ("tables/facts", ".parquet", column(FACTS, "fact_id", swap), "not in the order of their ids"),
        ("tables/entities", ".parquet", column(ENTITIES, "normalized", put(0, "other")), "an id of 'other' is not its"),
        ("tables/ngram_pairs", ".parquet", column(PAIRS, "query", put(0, "other")), "a pair_id is not the hash of its"),
        ("tables/ngram_pairs", ".parquet", column(PAIRS, "doc_id", put(0, 7)), "doc_id 7 is not in documents"),
        ("tables/ngram_pairs", ".parquet", column(PAIRS, "target", put(0, "other")), "is not its text or title"),
        ("tables/ngram_pairs", ".parquet", column(PAIRS, "target", put(1, "Town")), "is not its text or title"),
        ("tables/qa_pairs", ".parquet", column(ASKED, "answers", put(0, ["other"])), "is not the hash of its key"),
        ("tables/qa_pairs", ".parquet", column(ASKED, "question_id", put(0, 7)), "is not the hash of its question"),
        ("tables/qa_pairs", ".parquet", column(ASKED, "chunk_id", put(0, 7)), "chunk_id 7 is not in chunks"),
        ("tables/qa_pairs", ".parquet", column(ASKED, "doc_id", put(0, 7)), "doc_id 7 is not in documents"),
        ("tables/questions", ".parquet", column(QUESTIONS, "question", put(0, "other")), "an id of 'other' is not its"),
        ("tables/questions", ".parquet", column(QUESTIONS, "row", put(0, [1, 2])), "not as many places as pairs"),
        ("tables/questions", ".parquet", column(QUESTIONS, "row", put(0, [99])), "a place is none of a pair"),
        ("tables/questions", ".parquet", column(QUESTIONS, "partition", put(0, [-1])), "a place is none of a pair"),
        ("tables/questions", ".parquet", column(QUESTIONS, "row", swap_different), "its places are not those of the"),
        ("tables/questions", ".parquet", column(QUESTIONS, "row", put(0, [])), "not as many places as pairs"),
        ("tables/lm_tokens", ".parquet", column(TOKENS, "doc_id", put(0, 7)), "its documents are not those of"),
        ("tables/lm_tokens", ".parquet", column(TOKENS, "starts", put(0, [1])), "not as many first characters as"),
        ("tables/lm_states", ".parquet", column(STATES, "position", put(0, 7)), "a position is not that of its"),
        ("tables/lm_states", ".parquet", column(STATES, "token_offset", put(0, 99999)), "a value is not the token"),
        ("tables/lm_states", ".parquet", column(STATES, "value", put(0, 399)), "a value is not the token of its"),
        ("tables/lm_states", ".parquet", column(STATES, "chunk_id", put(0, 7)), "a chunk_id is not one of its"),
        ("tables/lm_states", ".npy", array(put((2, 3), 0.5)), "the Parquet and .npy keys differ"),
        ("indexes/next", "/positions.npy", array(swap), "index next does not hold each row of lm_states/tiny once"),
        (INDEX, "/chunk_ids.npy", array(swap), "index flat does not hold each row of embeddings/minilm once"),
        (INDEX, "/row.npy", array(put(0, 1)), "index flat does not hold each row"),
        (INDEX, "/row.npy", array(put(0, 99)), "index flat does not hold each row"),
        (INDEX, "/row.npy", array(put(0, -1)), "index flat does not hold each row"),
        (INDEX, "/partition.npy", array(put(0, 5)), "index flat does not hold each row"),
        ("indexes/words", "/row.npy", array(put(0, 1)), "index words does not hold each row of chunks once"),
    ],
)  # fmt: skip
def test_a_row_that_refers_to_nothing_is_a_problem(memory, place, ending, change, problem):
    forge(memory, place, ending, change)
    assert any(problem in found for found in verify(memory).problems), verify(memory).problems


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "._chunks"])
@pytest.mark.parametrize("folder", ["", "tables", "tables/chunks", "indexes/flat", "snapshots"])
def test_what_a_file_manager_leaves_is_no_problem(memory, folder, name):
    (memory / folder / name).write_bytes(b"x")
    assert verify(memory).problems == []


def test_a_sound_memory_is_counted(memory):
    result = verify(memory)
    counted = [file for file in memory.rglob("*") if file.is_file() and file.name not in {"CURRENT", "LEASE"}]
    counted = [file for file in counted if file.parent.name != "snapshots"]
    assert result.problems == []
    assert result.files == len(counted)
    assert result.bytes == sum(file.stat().st_size for file in counted)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("tables/chunks/stray.parquet", "belongs to no finished result; remove it"),
        ("indexes/flat/stray-1/index.faiss", "belongs to no finished result; remove it"),
        ("tables/chunks/stray.json", "this marker is damaged; remove it and build again"),
        ("snapshots/000000.json", "is in no snapshot's history; remove it"),
        ("work/content-1.json", "is only a memo: remove it"),
    ],
)
def test_a_file_that_nobody_wrote_is_named_with_its_remedy(memory, path, problem):
    (memory / path).parent.mkdir(exist_ok=True)
    (memory / path).write_text("stray")
    assert [found for found in verify(memory).problems if problem in found and str(memory / path) in found]
    (memory / path).unlink()
    assert verify(memory).problems == []


def test_what_an_unfinished_build_left_is_no_problem(memory):
    for path in ("work/attempt-1/data.parquet", "work/attempt-1/marker.json", "work/run-1/unit/0"):
        (memory / path).parent.mkdir(parents=True, exist_ok=True)
        (memory / path).write_text("half")
    assert verify(memory).problems == []


def test_what_a_writer_moved_in_place_before_it_died_is_counted_and_collected(memory, tmp_path, cli):
    copy = shutil.copytree(memory, tmp_path / "copy")
    marker = next((copy / "tables" / "chunks").glob("*.json"))
    data = next((copy / "tables" / "chunks").glob(f"{marker.stem}-*"))
    left = data.with_name("p9-" + "0" * 20 + "-" + "1" * 10 + data.suffix)
    left.write_bytes(data.read_bytes())
    result = verify(copy)
    assert result.problems == [] and result.unfinished == 1
    said = "left by steps that were killed, files: 1; `mnemodex gc` removes them"
    assert said in cli("verify", copy).out
    assert cli("gc", copy).code == 0
    assert not left.exists() and verify(copy).unfinished == 0


def test_several_problems_are_all_told(memory):
    removed = [next((memory / "tables" / name).glob("*.parquet")) for name in ("documents", "chunks")]
    for path in removed:
        path.unlink()
    assert sorted(problem.split(":")[0] for problem in verify(memory).problems) == sorted(map(str, removed))


def test_there_must_be_a_memory(tmp_path):
    with pytest.raises(MemoryNotFoundError):
        verify(tmp_path / "gone")
