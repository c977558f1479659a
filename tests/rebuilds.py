"""Any sequence of changes to a source and a recipe, and of builds that die: a memory answers as one that is new."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from engines import InlineEngine
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from passed_objects import Hashed

import mnemodex
from mnemodex.pipelines import growth, source_plan
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.local_files import LocalFiles

WORDS = ["river", "stone", "cloud", "engine", "ledger", "winter", "copper", "violet", "harbor", "signal", "meadow"]
QUESTIONS = ["stone meadow", "violet harbor in winter", "the ledger of the engine", "copper 3 river"]
PHRASES = ["stone", "river stone", "3", "winter 7", "no such phrase"]
EXACT = {
    "flat": {"type": "dense", "factory": "Flat"},
    "shards": {"type": "dense", "factory": "Flat", "shard_rows": 12},
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
}
TRAINED = {"codes": {"type": "dense", "factory": "IVF1,SQ8"}}
NEEDED = {"both": {"flat", "words"}, "keys": {"ngrams"}}
"""Indexes of which others are made."""
CHUNKS = [{"by": "document"}, {"by": "tokens", "size": 6, "overlap": 2}]
Row = tuple[int, int]
"""A document: its number, and how often it was edited."""

places = st.integers(0, 99)


class Killed(BaseException):
    """The process is dead from here on."""


class Rebuilds(RuleBasedStateMachine):
    """`files` are the source; the memory is built now and then, by builds of which some die at any write."""

    indexes: ClassVar[dict[str, Any]] = EXACT

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.files: dict[str, list[Row]] = {}
        self.compressed: set[str] = set()
        self.documents = self.names = self.bad_rows = self.encoder = 0
        self.chunks = CHUNKS[0]
        self.chosen = dict(self.indexes)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _new(self, count: int) -> list[Row]:
        self.documents += count
        return [(number, 0) for number in range(self.documents - count, self.documents)]

    def _name(self, place: int) -> str:
        return sorted(self.files)[place % len(self.files)]

    @initialize(count=st.integers(1, 60))
    def begin(self, count: int) -> None:
        self.add_file(count)

    @rule(count=st.integers(1, 40))
    def add_file(self, count: int) -> None:
        self.names += 1
        # Before, between or behind the others.
        self.files[f"{self.names * 37 % 100:02d}"] = self._new(count)

    @rule(place=places, at=places, count=st.integers(1, 30))
    def insert(self, place: int, at: int, count: int) -> None:
        rows = self.files[self._name(place)]
        at %= len(rows) + 1
        rows[at:at] = self._new(count)

    @rule(place=places, at=places, by=st.sampled_from([-1, 1]))
    def edit(self, place: int, at: int, by: int) -> None:
        rows = self.files[self._name(place)]
        at %= len(rows) or 1
        rows[at : at + 3] = [(number, max(0, edits + by)) for number, edits in rows[at : at + 3]]

    @rule(place=places, at=places, count=st.integers(1, 50))
    def delete(self, place: int, at: int, count: int) -> None:
        rows = self.files[self._name(place)]
        at %= len(rows) or 1
        if sum(map(len, self.files.values())) > len(rows[at : at + count]):
            del rows[at : at + count]

    @rule(place=places, turn=places)
    def reorder(self, place: int, turn: int) -> None:
        name = self._name(place)
        turn %= len(self.files[name]) or 1
        self.files[name] = [*self.files[name][turn:], *self.files[name][:turn]]

    @rule(place=places)
    def rename(self, place: int) -> None:
        self.names += 1
        self.files[f"{self.names * 37 % 100:02d}"] = self.files.pop(self._name(place))

    @rule(place=places, at=places)
    def split(self, place: int, at: int) -> None:
        name = self._name(place)
        rows = self.files[name]
        at %= len(rows) + 1
        self.files |= {name: rows[:at], f"{name}b": rows[at:] + self.files.get(f"{name}b", [])}

    @rule(place=places, other=places)
    def merge(self, place: int, other: int) -> None:
        name, other_name = self._name(place), self._name(other)
        if name != other_name:
            self.files[name] = self.files[name] + self.files.pop(other_name)

    @rule(place=places, other=places)
    def repeat(self, place: int, other: int) -> None:
        self.files[self._name(place)] = self.files[self._name(place)] + self.files[self._name(other)][:3]

    @rule(place=places)
    def compress(self, place: int) -> None:
        self.compressed ^= {self._name(place)}

    @rule(count=st.integers(0, 2))
    def spoil(self, count: int) -> None:
        self.bad_rows = count

    @rule(chunks=st.sampled_from(CHUNKS))
    def rechunk(self, chunks: dict[str, Any]) -> None:
        self.chunks = chunks

    @rule(encoder=st.integers(0, 2))
    def encode_otherwise(self, encoder: int) -> None:
        self.encoder = encoder

    @rule(data=st.data())
    def choose_indexes(self, data: st.DataObject) -> None:
        names = data.draw(st.sets(st.sampled_from(sorted(self.indexes)), min_size=1))
        names = names.union(*(NEEDED.get(name, ()) for name in names))
        self.chosen = {name: self.indexes[name] for name in self.indexes if name in names}

    @precondition(lambda self: {"flat", "shards"} <= self.chosen.keys())
    @rule()
    def swap_indexes(self) -> None:
        self.chosen |= {"flat": self.chosen["shards"], "shards": self.chosen["flat"]}

    @rule(writes=st.integers(0, 120))
    def die(self, writes: int) -> None:
        """A build that dies after some writes; nothing of it reaches the disk after that."""
        self._write()
        with pytest.MonkeyPatch.context() as patch:
            dead = die_after(writes, patch)
            try:
                self._build("memory")
            except (Killed, SourceError):
                unlock(dead)

    @rule()
    def rebuild(self) -> None:
        self._write()
        if all(is_blank(number) for rows in self.files.values() for number, _ in rows):
            with pytest.raises(SourceError, match="no document has any text"):
                self._build("memory")
            return
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        grown, new = self._build("memory"), self._build("new")
        assert sorted(grown.warnings) == sorted(new.warnings)
        assert verify(self.folder / "memory").problems == []
        expected = self._answers("new")
        for question, answer in self._answers("memory").items():
            assert answer == expected.pop(question), question
        assert not expected
        assert not self._build("memory").committed

    def _write(self) -> None:
        """Write the source; a file that does not change is left as it is."""
        edits: dict[int, int] = {}
        for number, count in (row for rows in self.files.values() for row in rows):
            edits[number] = max(count, edits.get(number, 0))
        (self.folder / "source").mkdir(exist_ok=True)
        wanted = {}
        for place, (name, rows) in enumerate(sorted(self.files.items())):
            lines = [json.dumps(note(number, edits[number])) for number, _ in rows]
            lines += ["{not json"] * (self.bad_rows if place == 0 else 0)
            data = "".join(f"{line}\n" for line in lines).encode()
            packed = name in self.compressed
            wanted[f"{name}.jsonl.gz" if packed else f"{name}.jsonl"] = gzip.compress(data, mtime=0) if packed else data
        for path in (self.folder / "source").iterdir():
            if path.name not in wanted:
                path.unlink()
        for name, data in wanted.items():
            path = self.folder / "source" / name
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)

    def _build(self, memory: str) -> Any:
        recipe = {
            "source": {"path": str(self.folder / "source")},
            "memory": str(self.folder / memory),
            "chunks": self.chunks,
            "indexes": self.chosen,
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)
            patch.setattr(source_plan, "PACKING", Packing(rows=4, bytes=600, most=4))
            patch.setattr(growth, "SMALL", 8)
            return mnemodex.build(recipe, encoders=self._encoders())

    def _encoders(self) -> dict[str, Hashed]:
        return {"words": Hashed(16 + 8 * (self.encoder // 2), seed=self.encoder)}

    def _answers(self, root: str) -> dict[str, Any]:
        memory = mnemodex.open(self.folder / root, encoders=self._encoders())
        given: dict[str, Any] = {}
        for name in set(memory.indexes) - TRAINED.keys():
            for where in (None, "d.key LIKE '%1'"):
                hits = memory.retriever(name).search(QUESTIONS, 7, where=where)
                given[f"{name} {where}"] = hits.to_arrow().to_pylist()
        if "ngrams" in memory.indexes:
            given |= phrases(memory.retriever("ngrams"))
        for view in memory.snapshot.views:
            given[view] = memory.sql(f"SELECT * FROM {view} ORDER BY ALL").to_arrow_table().to_pylist()
        for name in TRAINED.keys() & set(memory.indexes):
            self._check_scores(memory, name)
        return given

    def _check_scores(self, memory: Any, name: str) -> None:
        """Hits of an index of codes have about the scores of their vectors."""
        (encoder,) = self._encoders().values()
        vectors = dict(memory.sql("SELECT chunk_id, vector FROM embeddings_words").fetchall())
        asked = encoder.encode(QUESTIONS)
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        for hit in memory.retriever(name).search(QUESTIONS, 7).to_arrow().to_pylist():
            exact = float(np.array(vectors[hit["chunk_id"]], np.float32) @ asked[hit["query"]])
            assert hit["score"] == pytest.approx(exact, abs=0.05)


def phrases(ngrams: Any) -> dict[str, Any]:
    """Places and documents are in the order of the shards, so they are compared as sets."""
    located, documents = ngrams.locate(PHRASES), ngrams.documents(PHRASES)
    following = ngrams.continuations(PHRASES)
    columns = {"locate": (located.chunk_ids, located.tokens), "documents": (documents.doc_ids, documents.counts)}
    offsets = {"locate": located.offsets, "documents": documents.offsets}
    found = {
        name: [
            sorted(zip(one[start:stop].tolist(), two[start:stop].tolist(), strict=True))
            for start, stop in zip(offsets[name], offsets[name][1:], strict=False)
        ]
        for name, (one, two) in columns.items()
    }
    following_tokens = [column.tolist() for column in (following.offsets, following.tokens, following.counts)]
    return {**found, "count": ngrams.count(PHRASES).tolist(), "continuations": following_tokens}


def note(number: int, edits: int) -> dict[str, Any]:
    rng = np.random.default_rng([number, edits])
    # One has a title only.
    text = (
        "" if is_blank(number) or number % 9 == 3 else " ".join([*rng.choice(WORDS, rng.integers(0, 12)), str(number)])
    )
    return {"id": f"n{number}", "title": "" if number % 3 else f"Note {number}", "text": text, "year": number % 5}


def is_blank(number: int) -> bool:
    """Whether a document has no chunk."""
    return number % 9 == 1


def die_after(writes: int, patch: pytest.MonkeyPatch, *, deletes: bool = False) -> list[LocalFiles]:
    """Let nothing reach the disk after some writes, or also deletions; returns the doors to files that were used."""
    left, used = [writes], list[LocalFiles]()

    def dying(method: Any, *, counts: bool) -> Any:
        def call(files: LocalFiles, *given: Any, **named: Any) -> Any:
            used.append(files)
            left[0] -= counts
            if left[0] < 0:
                raise Killed
            return method(files, *given, **named)

        return call

    for name in ("attempt", "_move", "put_if_absent", "delete"):
        patch.setattr(LocalFiles, name, dying(getattr(LocalFiles, name), counts=deletes or name != "delete"))
    return used


def unlock(dead: list[LocalFiles]) -> None:
    """Let go of the locks that a process holds until it dies."""
    for files in dead:
        locks = files._attempts._locks
        for descriptor in locks.values():
            os.close(descriptor)
        locks.clear()
