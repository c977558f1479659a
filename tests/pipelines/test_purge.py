"""After a purge no file of a memory holds the document, whatever is decoded of it, and no build brings it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from changes import INDEXES
from decoding import decode
from engines import InlineEngine
from language_models import saved
from passed_objects import Hashed
from rebuilds import Killed, die_after, note, unlock

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import PinnedSnapshotError, QueryError
from mnemodex.schemas.store.sealed import seal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from commands import Ran

ENCODERS = {"words": Hashed(16, seed=0)}
SECRET = {
    "id": "secret-key",
    "title": "Zanzibar",
    "text": "Mary Quokkas was born in Zanzibar in 1907. Mary Quokkas discovered the river of copper in 1931.",
    "year": 77,
}
ADA = {"id": "ada", "title": "Ada", "text": "Ada Lovelace was born in London in 1815. She wrote notes.", "year": 1}
WORDS = ["secret-key", "zanzibar", "quokkas"]
ALL = {
    **INDEXES,
    "near": {"type": "dense", "engine": "hnswlib"},
    "codes": {"type": "dense", "factory": "IVF1,SQ8"},
    "qa": {"type": "qa", "embed": "words"},
    "next": {"type": "knn_lm", "lm": "tiny", "factory": "Flat"},
}


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """A recipe of BM25 and dense vectors over documents of which one is to be purged."""
    write(tmp_path / "notes.jsonl", [*(note(number, 0) for number in range(12)), SECRET])
    indexes = {name: ALL[name] for name in ("words", "flat")}
    return {"source": {"path": str(tmp_path / "notes.jsonl")}, "memory": str(tmp_path / "memory"), "indexes": indexes}


def build(recipe: dict[str, Any], **options: Any) -> Any:
    return mnemodex.build(recipe, encoders=ENCODERS, **options)


def opened(recipe: dict[str, Any]) -> Any:
    return mnemodex.open(recipe["memory"], encoders=ENCODERS)


def ids_and_vectors(memory: Any, key: str = "secret-key") -> tuple[list[int], Any]:
    """Return the ids of a document, its chunks and positions, and its chunks' vectors."""
    (doc_id,) = memory.sql(f"SELECT doc_id FROM documents WHERE key = '{key}'").fetchone()
    chunks = f"SELECT c.chunk_id, vector FROM chunks c JOIN embeddings_words USING (chunk_id) WHERE doc_id = {doc_id}"
    ids, vectors = zip(*memory.sql(chunks).fetchall(), strict=True)
    # The document's tokens are numbered from its id on.
    return [*range(doc_id, doc_id + 200), *ids], np.array(vectors, np.float32)


def held(root: Path, ids: list[int], vectors: Any, words: list[str] = WORDS) -> list[str]:
    decoded = decode(root)
    assert not decoded.unknown
    return decoded.holding(words, ids, vectors)


def test_no_file_of_any_index_holds_it(tmp_path: Path, recipe: dict[str, Any]) -> None:
    rows = [*(note(number, 0) for number in range(12)), SECRET, ADA]
    write(tmp_path / "notes.jsonl", rows)
    words = {row["id"]: row["text"].split() for row in rows}
    triples = [{"id": key, "triples": [own[at : at + 3] for at in range(len(own) - 2)]} for key, own in words.items()]
    write(tmp_path / "triples.jsonl", [{"entities": [], **row} for row in triples])
    recipe |= {
        "chunks": {"by": "tokens", "size": 40, "overlap": 2},
        "triples": {"from": str(tmp_path / "triples.jsonl")},
        "qa_pairs": {"generator": "rules"},
        "embed": {"words": {}},
        "lm": {"tiny": {"model": saved("llama", tmp_path / "llama"), "window": 32, "overlap": 8}},
        "indexes": ALL,
    }
    build(recipe)
    memory, root = opened(recipe), tmp_path / "memory"
    ids, vectors = ids_and_vectors(memory)
    for query in (
        f"SELECT pair_id FROM qa_pairs WHERE doc_id = {ids[0]}",
        f"SELECT triple_id FROM triples JOIN chunks USING (chunk_id) WHERE doc_id = {ids[0]}",
        f"SELECT fact_id FROM triples JOIN chunks USING (chunk_id) GROUP BY 1 HAVING bool_and(doc_id = {ids[0]})",
        "SELECT question_id FROM questions WHERE question ILIKE '%quokkas%'",
        "SELECT entity_id FROM entities WHERE normalized SIMILAR TO '.*(zanzibar|quokkas|1907).*'",
    ):
        found = [number for (number,) in memory.sql(query).fetchall()]
        assert found
        ids += found
    folders = {path.split("/")[1] for path in held(root, ids, vectors)}
    assert {"words", "flat", "ngrams", "graph", "walk", "near", "codes", "next", "errors"} <= folders
    assert memory.delete(["secret-key"], purge=True) == 1
    assert held(root, ids, vectors) == []
    assert memory.snapshot.name == "000002"
    assert verify(root).problems == []
    build(recipe)
    assert held(root, ids, vectors) == []


def test_no_later_build_brings_it_back(tmp_path: Path, recipe: dict[str, Any]) -> None:
    build(recipe)
    memory, root = opened(recipe), tmp_path / "memory"
    ids, vectors = ids_and_vectors(memory)
    memory.delete(["secret-key"], purge=True)
    assert not build(recipe).committed
    source = tmp_path / "notes.jsonl"
    source.write_text(source.read_text(encoding="utf-8") + json.dumps(note(40, 0)) + "\n", encoding="utf-8")
    assert build(recipe).committed
    build(recipe, forget_deletions=True)
    build({**recipe, "chunks": {"by": "tokens", "size": 8}})
    assert held(root, ids, vectors) == []
    assert opened(recipe).sql("SELECT count(*) FROM documents").fetchone() == (13,)


def test_it_may_be_added_again(tmp_path: Path, recipe: dict[str, Any]) -> None:
    build(recipe)
    memory = opened(recipe)
    memory.delete(["secret-key"], purge=True)
    assert memory.add([{**SECRET, "text": "Public words."}]) == 1
    memory.close()
    build(recipe)
    assert opened(recipe).sql("SELECT text FROM documents WHERE key = 'secret-key'").fetchall() == [("Public words.",)]
    assert opened(recipe).delete(["secret-key"], purge=True) == 1
    assert held(tmp_path / "memory", [], np.zeros((0, 16), np.float32), ["public words"]) == []


def test_what_was_added_updated_or_deleted_before_is_purged_too(tmp_path: Path, recipe: dict[str, Any]) -> None:
    recipe["indexes"]["ngrams"] = ALL["ngrams"]
    build(recipe)
    memory, root = opened(recipe), tmp_path / "memory"
    ids, vectors = ids_and_vectors(memory)
    memory.add([{"id": "later", "title": "", "text": "Xylophone"}, {"id": "stays", "title": "", "text": "Trombone"}])
    memory.update([{"id": "later", "title": "", "text": "Glockenspiel"}])
    memory.delete(["secret-key"])
    memory.delete(["later"])
    words = [*WORDS, "later", "xylophone", "glockenspiel"]
    assert held(root, ids, vectors, words)
    assert memory.snapshot.manifest.tombstones
    assert memory.delete(["secret-key", "later"], purge=True) == 2
    assert held(root, ids, vectors, words) == []
    assert memory.sql("SELECT text FROM documents WHERE key = 'stays'").fetchall() == [("Trombone",)]
    assert memory.delete(["later"], purge=True) == 0
    with pytest.raises(QueryError, match="no document has the key 'latter'"):
        memory.delete(["latter"], purge=True)


def test_kept_answers_and_unfinished_work_go(tmp_path: Path, recipe: dict[str, Any]) -> None:
    build(recipe)
    root = tmp_path / "memory"
    (root / "answers").mkdir()
    (root / "answers" / "00.json").write_bytes(seal({"text": "Quokkas live in Zanzibar"}))
    (root / "work" / "partial").mkdir()
    (root / "work" / "partial" / "left.json").write_text('["Zanzibar"]')
    opened(recipe).delete(["secret-key"], purge=True)
    assert not (root / "answers").exists()
    assert held(root, [], np.zeros((0, 16), np.float32)) == []


@pytest.mark.parametrize("writes", [2, 10, 25, 40, 55, 70])
def test_a_purge_that_died_is_finished_by_another(tmp_path: Path, recipe: dict[str, Any], writes: int) -> None:
    build(recipe)
    root = tmp_path / "memory"
    ids, vectors = ids_and_vectors(opened(recipe))
    with pytest.MonkeyPatch.context() as patch:
        dead = die_after(writes, patch, deletes=True)
        try:
            opened(recipe).delete(["secret-key"], purge=True)
        except Killed:
            unlock(dead)
    opened(recipe).delete(["secret-key"], purge=True)
    assert held(root, ids, vectors) == []
    assert verify(root).problems == []


def test_an_open_snapshot_refuses_it(recipe: dict[str, Any]) -> None:
    build(recipe)
    memory, other = opened(recipe), opened(recipe)
    with pytest.raises(PinnedSnapshotError, match="snapshot 000001 is open in a program"):
        memory.delete(["secret-key"], purge=True)
    assert memory.retriever("words").search(["quokkas"], 1)[0][0].key == "secret-key"
    other.close()
    assert memory.delete(["secret-key"], purge=True) == 1
    assert not memory.retriever("words").search(["quokkas"], 1)[0]


def test_the_command_purges(recipe: dict[str, Any], tmp_path: Path, cli: Callable[..., Ran]) -> None:
    mnemodex.build({**recipe, "indexes": {"words": {"type": "bm25"}}})
    root = tmp_path / "memory"
    done = cli("delete", root, "--where", "year = 77", "--purge", "--json").json
    assert (done["documents"], done["snapshot"]) == (1, "000002")
    assert held(root, [], np.zeros((0, 16), np.float32)) == []
    assert cli("delete", root, "--purge").code == 2
    assert "1 document purged" in cli("delete", root, "n3", "--purge").out
