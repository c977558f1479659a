"""Documents are deleted from a memory with a graph: only what differs is written, and nothing is known of them.

All that a graph's retriever works with is compared with that of a memory of the documents that are left.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from changes import small_partitions
from passed_objects import Hashed

import mnemodex
from mnemodex.indexers.graph import codes, synonyms
from mnemodex.pipelines.exports.database import write_database
from mnemodex.pipelines.exports.hugging_face import write_datasets
from mnemodex.pipelines.graph import edges, names, parts, steps

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["small_partitions"]

NAMES = (
    *("Old Bakery", "old bakery", "OLD bakery", "Old-Bakery", "The Mill", "the mill", "Vera Lind", "vera lind", "Olme"),
    *("Olme Harbour", "Olme harbour", "Harbour Olme", "Лена Маяк", "лена маяк", "港", "Lind"),
)
PREDICATES = ("lies in", "keeps")
INDEXES = {
    "walk": {"type": "graph", "method": "hipporag2"},
    "bridge": {"type": "graph"},
    "lite": {"type": "graph", "method": "bridge-lite"},
    "flat": {"type": "dense", "factory": "Flat"},
    "bare": {"type": "graph", "method": "bridge-lite", "of": "flat"},
}
QUESTIONS = ["Where does Vera Lind keep the old bakery?", "Olme harbour", "the mill in Olme"]
DOCUMENTS = 60


def triples_of(number: int) -> list[list[str]]:
    """Some triples of a document; documents share names in several spellings and facts, and some have none."""
    random = np.random.default_rng(number)
    drawn = (len(NAMES) * random.random((number % 4, 2)) ** 1.5).astype(int)
    return [[NAMES[one], PREDICATES[one % 2], NAMES[other]] for one, other in drawn if one != other]


def document(number: int) -> dict[str, str]:
    text = " ".join(f"{one} {predicate} {other}." for one, predicate, other in triples_of(number))
    return {"id": f"n{number}", "text": f"{text} Note {number} has the word w{number}, and others w{number // 3}."}


def built(folder: Path, name: str, numbers: list[int]) -> Any:
    source = folder / f"{name}.jsonl"
    source.write_text("".join(json.dumps(document(number)) + "\n" for number in numbers), encoding="utf-8")
    lines = [{"id": f"n{number}", "entities": [], "triples": triples_of(number)} for number in range(2 * DOCUMENTS)]
    triples = folder / "triples.jsonl"
    triples.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    memory, encoders = folder / name, {"hashed": Hashed(16)}
    recipe = {"source": str(source), "memory": str(memory), "triples": {"from": str(triples)}, "indexes": INDEXES}
    mnemodex.build(recipe, encoders=encoders)
    return mnemodex.open(memory, encoders=encoders)


@pytest.fixture
def memory(tmp_path: Path, small_partitions: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A memory in which a name chooses two synonyms, so that others come in for those that are gone."""
    monkeypatch.setattr(synonyms.strongest, "__defaults__", (2,))
    return built(tmp_path, "memory", list(range(DOCUMENTS)))


def known(memory: Any) -> dict[str, Any]:
    """All that is known of a memory's graphs: their arrays, texts and words, what is found and why, and the tables."""
    found: dict[str, Any] = {}
    for name in ("walk", "lite", "bare"):
        space = memory.retriever(name).space
        entities, facts = range(space.graph.entities), range(len(space.graph.subjects))
        found |= {f"{name} {key}": values.tolist() for key, values in vars(space.graph).items()}
        found[f"{name} names"], found[f"{name} facts"] = space.names(entities), space.facts(facts)
        found[f"{name} weights"] = space.words.weight(["w1", "w2", "olme", "mill", "note"])
    space = memory.retriever("walk").space
    vectors = space.encode(QUESTIONS)
    found["near"] = [
        [column.tolist() for column in find(vectors, 4)] for find in (space.nearest_facts, space.nearest_entities)
    ]
    for name in memory.indexes:
        retriever = memory.retriever(name)
        hits = retriever.search(QUESTIONS, 5)
        found[f"{name} hits"] = (hits.ids.tolist(), hits.scores)
        found[f"{name} reasons"] = [[(r.kind, r.text) for r in hit] for row in hits.reasons() for hit in row]
        if name != "flat":
            found[f"{name} nodes"] = [(node.id, node.label) for node in retriever.subgraph(QUESTIONS[0]).nodes]
    for view in memory.snapshot.views:
        columns = "* EXCLUDE (source, line)" if view == "documents" else "*"
        found[view] = memory.sql(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table().to_pylist()
        found[f"rows of {view}"] = memory.snapshot.manifest.tables[memory.snapshot.views[view]].rows
    return found


def compare(memory: Any, expected: Any) -> None:
    one, other = known(memory), known(expected)
    assert one.keys() == other.keys()
    for name, value in one.items():
        if not name.endswith("hits"):
            assert value == other[name], name
    for name in ("walk", "bridge", "lite", "bare", "flat"):
        assert one[f"{name} hits"][0] == other[f"{name} hits"][0]
        np.testing.assert_allclose(one[f"{name} hits"][1], other[f"{name} hits"][1], atol=1e-6)


def test_nothing_is_known_of_deleted_documents(memory: Any, tmp_path: Path) -> None:
    before = files(tmp_path / "memory")
    gone = np.random.default_rng(0).choice(DOCUMENTS, 10, replace=False).tolist()
    for some in (gone[:5], gone[5:]):
        memory.delete([f"n{number}" for number in some])
    after = files(tmp_path / "memory")
    assert before.items() <= after.items()
    assert {path.parts[1] for path in after.keys() - before} == {"changes", "corrections", "tombstones"}
    memory.add([document(DOCUMENTS + 3)])
    assert memory.snapshot.manifest.tombstones
    left = [number for number in range(DOCUMENTS) if number not in gone]
    compare(memory, built(tmp_path, "new", [*left, DOCUMENTS + 3]))
    check_exports(memory.snapshot, known(memory), tmp_path)
    memory.compact()
    assert "tables/corrections" not in memory.snapshot.manifest.caches
    assert memory.sql("SELECT count(*) FROM documents").fetchone() == (len(left) + 1,)


def test_what_is_added_to_former_facts_entities_and_edges_is_what_a_new_build_has(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_RANGE_ROWS", 64)
    known_parts: list[int | None] = []

    def count(*given: Any) -> int | None:
        known_parts.append(parts.count_known(*given))
        return known_parts[-1]

    for module in (names, edges):
        monkeypatch.setattr(module, "count_known", count)
    last = DOCUMENTS
    for added in (1, 3, 8, 20):
        memory.add([document(number) for number in range(last, last + added)])
        last += added
    memory.delete([f"n{number}" for number in (2, DOCUMENTS, DOCUMENTS + 7)])
    memory.add([document(last)])
    # Once ranges are halved they are gathered again.
    assert None in known_parts
    assert len([number for number in known_parts if number is not None]) > 8
    left = [number for number in range(last) if number not in {2, DOCUMENTS, DOCUMENTS + 7}]
    compare(memory, built(tmp_path, "new", [*left, last]))


def test_codes_of_former_vectors_are_those_of_a_new_build(
    tmp_path: Path, small_partitions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EXACT_FACTS", "EXACT_PASSAGES"):
        monkeypatch.setattr(codes, name, 3)
    for name, size in (("_FIRST_SEGMENT", 40), ("_SMALLEST", 20), ("_LARGEST", 20)):
        monkeypatch.setattr(names, name, size)
    memory = built(tmp_path, "coded", list(range(DOCUMENTS)))
    memory.add([document(DOCUMENTS + number) for number in range(3)])
    new = built(tmp_path, "new", list(range(DOCUMENTS + 3)))
    added, made = (of.snapshot.manifest.caches for of in (memory, new))
    labels = [label for label in made if label.startswith("tables/codes/") and "facts" in label]
    assert len(labels) == 2
    for label in labels:
        assert [part.files[0].sha256 for part in added[label].partitions] == [
            part.files[0].sha256 for part in made[label].partitions
        ]
    assert any(part.stats.reused for label in labels for part in added[label].partitions)


def check_exports(snapshot: Any, known: dict[str, Any], folder: Path) -> None:
    """Exports have the rows of SQL."""
    write_database(snapshot, folder / "out.duckdb")
    write_datasets(snapshot, folder / "hf")
    for view in snapshot.views:
        columns = "* EXCLUDE (source, line)" if view == "documents" else "*"
        with duckdb.connect(str(folder / "out.duckdb"), read_only=True) as connection:
            found = connection.sql(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table().to_pylist()
            assert found == known[view], view
        state = json.loads((folder / "hf" / view / "state.json").read_text())
        parts = [folder / "hf" / view / file["filename"] for file in state["_data_files"]]
        rows = duckdb.from_arrow(pa.concat_tables([pa.ipc.open_stream(path.read_bytes()).read_all() for path in parts]))
        assert rows.query("one", f"SELECT {columns} FROM one ORDER BY ALL").to_arrow_table().to_pylist() == known[view]


def files(memory: Path) -> dict[Path, int]:
    """The files of tables and indexes, and when they were written."""
    found = (path for folder in ("tables", "indexes") for path in (memory / folder).rglob("*"))
    return {path.relative_to(memory): path.stat().st_mtime_ns for path in found if path.is_file()}
