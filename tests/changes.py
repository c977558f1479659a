"""Any sequence of changes, of which some die: a memory answers as one that is built from what is left."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from engines import InlineEngine
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from language_models import saved
from pair_changes import pairs_of, write_pairs
from passed_objects import Hashed
from rebuilds import EXACT, QUESTIONS, Killed, die_after, is_blank, note, phrases, unlock

import mnemodex
from mnemodex.pipelines import growth, source_plan
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import DuplicateKeyError, QueryError

INDEXES = {
    **EXACT,
    "keys": {"type": "seal"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
    "graph": {"type": "graph", "method": "bridge-lite"},
    "walk": {"type": "graph", "method": "hipporag2"},
}
MASKED = {
    "flat": {"type": "dense", "factory": "Flat"},
    "shards": {"type": "dense", "factory": "Flat", "shard_rows": 12},
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
    "next": {"type": "knn_lm", "factory": "Flat"},
}
"""Kinds whose readers leave out what was deleted, so that no file is written; the next ones are such too."""
MASKED_GRAPHS = {
    "flat": {"type": "dense", "factory": "Flat"},
    "graph": {"type": "graph", "method": "bridge-lite"},
    "walk": {"type": "graph", "method": "hipporag2"},
    "bridge": {"type": "graph"},
    "names": {"type": "graph", "method": "hipporag1"},
    "bare": {"type": "graph", "method": "bridge-lite", "of": "flat"},
}
LEFT_OUT = {
    "documents": "EXCLUDE (source, line)",
    "lm_states_tiny": "EXCLUDE (key, surprisal)",
    "questions": "EXCLUDE (partition, row)",
}
"""What is not compared: where documents and pairs are, and the last bits of what a model computes in batches."""
ANCHOR = {"id": "anchor", "title": "", "text": "An anchor of iron and oak stays where it is.", "year": 9}
"""Is never changed: a language model needs some text."""
places = st.integers(0, 99)


class Changes(RuleBasedStateMachine):
    """`there` are the documents of the memory, by number: how often each was edited.

    Those that were purged, `purged`, are never read of the source again.
    """

    indexes: ClassVar[dict[str, Any]] = INDEXES
    generator: ClassVar[str] = "file"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.there: dict[int, int] = {}
        self.source: dict[int, int] = {}
        self.documents = 0
        self.changed = False
        self.purged: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(count=st.integers(5, 40))
    def begin(self, count: int) -> None:
        self._write_triples()
        write_pairs(self.folder / "pairs.jsonl")
        self.source = dict.fromkeys(range(count), 0)
        self.documents = count
        self.there = dict(self.source)
        self._write("source", self.source)
        self._build("memory", "source")

    @rule(count=st.integers(1, 20))
    def add(self, count: int) -> None:
        new = dict.fromkeys(range(self.documents, self.documents + count), 0)
        self.documents += count
        assert self._memory().add(_rows(new)) == count
        self._now(self.there | new)

    @precondition(lambda self: len(self.there) < self.documents)
    @rule(place=places, edits=st.integers(0, 2))
    def add_again(self, place: int, edits: int) -> None:
        gone = sorted(set(range(self.documents)).difference(self.there))
        number = gone[place % len(gone)]
        assert self._memory().add(_rows({number: edits})) == 1
        self._now(self.there | {number: edits})

    @rule(place=places)
    def add_what_is_there(self, place: int) -> None:
        number, edits = sorted(self.there.items())[place % len(self.there)]
        assert self._memory().add(_rows({number: edits})) == 0
        if note(number, edits) != note(number, edits + 1):
            with pytest.raises(DuplicateKeyError, match=f"'n{number}' and other content; update it"):
                self._memory().add(_rows({number: edits + 1}))

    @rule(place=places, count=st.integers(1, 5))
    def update(self, place: int, count: int) -> None:
        numbers = self._some(place, count)
        edited = {number: self.there[number] + 1 for number in numbers}
        self._memory().update(_rows(edited))
        self._now(self.there | edited)

    @rule(place=places, count=st.integers(1, 15))
    def delete(self, place: int, count: int) -> None:
        numbers = self._some(place, count)
        keys = [f"n{number}" for number in numbers]
        if not self._would_leave(numbers):
            return
        assert self._memory().delete(keys) == len(numbers)
        self._now({number: edits for number, edits in self.there.items() if number not in numbers})
        with pytest.raises(QueryError, match=f"no document has the key '{keys[0]}'"):
            self._memory().delete(keys)

    @rule(year=st.integers(0, 4))
    def delete_where(self, year: int) -> None:
        numbers = [number for number in self.there if number % 5 == year]
        if self._would_leave(numbers):
            assert self._memory().delete(where=f"year = {year}") == len(numbers)
            self._now({number: edits for number, edits in self.there.items() if number not in numbers})

    @rule(place=places, writes=st.integers(0, 150), adds=st.booleans())
    def die(self, place: int, writes: int, adds: bool) -> None:
        """A change that dies after some writes; nothing of it reaches the disk after that."""
        numbers = self._some(place, 3)
        new = dict.fromkeys(range(self.documents, self.documents + 3), 0)
        if not self._would_leave(numbers):
            return
        before = self._memory().snapshot.name
        with pytest.MonkeyPatch.context() as patch:
            dead = die_after(writes, patch)
            try:
                if adds:
                    self._memory().add(_rows(new))
                else:
                    self._memory().delete([f"n{number}" for number in numbers])
            except Killed:
                unlock(dead)
        if self._memory().snapshot.name == before:
            return
        self.documents += 3 * adds
        left = {number: edits for number, edits in self.there.items() if adds or number not in numbers}
        self._now(left | (new if adds else {}))

    @rule()
    def build_again(self) -> None:
        """The source is as it was: what was changed stays so, and what was left out is written no more."""
        masked = bool(self._memory().snapshot.manifest.tombstones)
        assert self._build("memory", "source").committed == masked
        self.changed = self.changed or masked

    @rule(forget=st.booleans())
    def build_after_a_new_source(self, forget: bool) -> None:
        """Documents at the end of the source come in; what was deleted comes back if that is wanted."""
        new = dict.fromkeys(range(self.documents, self.documents + 3), 0)
        self.documents += 3
        self.source |= new
        self._write("source", self.source)
        self._build("memory", "source", forget_deletions=forget)
        gone = self.source.keys() - self.there.keys() - self.purged if forget else ()
        back = {number: self.source[number] for number in gone}
        self._now(self.there | back | new)

    @invariant()
    def answers_as_a_new_one(self) -> None:
        if not self.changed:
            return
        self.changed = False
        problems = verify(self.folder / "memory").problems
        assert not problems, problems
        self._compare(self.there)

    def _compare(self, there: dict[int, int], *, snapshot: str | None = None) -> None:
        """Compare a snapshot, by default the current one, with a memory of some documents."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        self._write("left", there)
        self._build("new", "left")
        expected = self._answers("new")
        for question, answer in self._answers("memory", snapshot=snapshot).items():
            assert answer == expected.pop(question), question
        assert not expected

    def _now(self, there: dict[int, int]) -> None:
        self.there = there
        self.changed = True

    def _some(self, place: int, count: int) -> list[int]:
        numbers = sorted(self.there)
        return [numbers[(place + 7 * more) % len(numbers)] for more in range(min(count, len(numbers)))]

    def _would_leave(self, numbers: list[int]) -> bool:
        """Whether documents with a text are left, and some are gone, none named twice."""
        left = [number for number in self.there if number not in numbers and not is_blank(number)]
        return bool(left) and 0 < len(numbers) == len(set(numbers))

    def _memory(self, *, snapshot: str | None = None) -> Any:
        return mnemodex.open(self.folder / "memory", snapshot, encoders={"words": Hashed(16, seed=0)})

    def _write(self, name: str, documents: dict[int, int]) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        lines = [json.dumps(row) + "\n" for row in [ANCHOR, *_rows(documents)]]
        (self.folder / name / "notes.jsonl").write_text("".join(lines), encoding="utf-8")

    def _write_triples(self) -> None:
        with (self.folder / "triples.jsonl").open("w", encoding="utf-8") as file:
            for number in range(400):
                words = note(number, 0)["text"].split()
                triples = [words[at : at + 3] for at in range(len(words) - 2)]
                file.write(json.dumps({"id": f"n{number}", "entities": [], "triples": triples}) + "\n")

    def _build(self, memory: str, source: str, **options: Any) -> Any:
        recipe = {
            "source": {"path": str(self.folder / source)},
            "memory": str(self.folder / memory),
            "chunks": {"by": "tokens", "size": 6, "overlap": 2},
            "indexes": self.indexes,
        }
        if "next" in self.indexes:
            recipe["lm"] = {"tiny": {"model": saved("llama", self.folder / "model"), "window": 32, "overlap": 8}}
            recipe["ngram_pairs"] = {"spans": {"unsupervised": 1, "length": 3}}
        if "graph" in self.indexes:
            recipe["triples"] = {"from": str(self.folder / "triples.jsonl")}
        if "asked" in self.indexes:
            pairs = {"from": str(self.folder / "pairs.jsonl")}
            recipe["qa_pairs"] = pairs if self.generator == "file" else {"generator": self.generator}
        return mnemodex.build(recipe, encoders={"words": Hashed(16, seed=0)}, **options)

    def _answers(self, root: str, *, snapshot: str | None = None) -> dict[str, Any]:
        memory = mnemodex.open(self.folder / root, snapshot, encoders={"words": Hashed(16, seed=0)})
        given: dict[str, Any] = {}
        for name, index in memory.snapshot.manifest.indexes.items():
            given[f"rows of {name}"] = index.rows
            for where in (None, "d.key LIKE '%1'"):
                hits = memory.retriever(name).search(QUESTIONS, 7, where=where)
                rounds = index.type in {"graph", "knn_lm"}
                given[f"{name} {where}"] = _rounded(hits) if rounds else hits.to_arrow().to_pylist()
            if index.type == "qa":
                given |= pairs_of(memory.retriever(name), name)
        if "ngrams" in memory.indexes:
            given |= phrases(memory.retriever("ngrams"))
        for view in memory.snapshot.views:
            without = LEFT_OUT.get(view, "")
            given[view] = memory.sql(f"SELECT * {without} FROM {view} ORDER BY ALL").to_arrow_table().to_pylist()
        return given


@pytest.fixture
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small corpus has several partitions and shards, and is built in this process."""
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)
    monkeypatch.setattr(source_plan, "PACKING", Packing(rows=4, bytes=600, most=4))
    monkeypatch.setattr(growth, "SMALL", 8)


def _rounded(hits: Any) -> list[list[tuple[float, int]]]:
    """Hits whose scores differ in their last bits, by the order of a graph's nodes or of a model's batches.

    What is nearly as good as the last hit is left out.
    """
    answers = []
    for ids, scores in zip(hits.ids, hits.scores, strict=True):
        found = [(round(float(score), 3), int(id_)) for id_, score in zip(ids, scores, strict=True) if id_ >= 0]
        last = found[-1][0] if len(found) == len(ids) else -np.inf
        answers.append(sorted(hit for hit in found if hit[0] > last + 2e-3))
    return answers


def _rows(documents: dict[int, int]) -> list[dict[str, Any]]:
    return [note(number, edits) for number, edits in documents.items()]
