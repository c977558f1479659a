"""A small memory with every kind of file, and what it answers."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
from engines import InlineEngine
from language_models import saved

from mnemodex.indexers.encoders import local
from mnemodex.pipelines.build import build
from mnemodex.retrievers.memory import Memory
from mnemodex.schemas.errors import MnemodexError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.pipelines.outcome import BuildResult

INDEXES = {
    "flat": {"type": "dense", "factory": "Flat"},
    "graph": {"type": "dense", "engine": "hnswlib"},
    "lists": {"type": "dense", "factory": "IVF2,Flat"},
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
}
PAIRS = {"spans": {"unsupervised": 1, "length": 4}}
QUESTIONS = ["Which river flows through a city?", "lighthouse keeper"]
_SENTENCES = (
    "The river flows through the old city and under seven bridges.",
    "A lighthouse keeper wrote letters to the harbour every week.",
    "Copper was mined in these hills until the last war.",
    "The orchestra plays in the market hall on summer evenings.",
    "Its library holds charts of the northern coast.",
    "Bakers here use rye that grows on the salt marshes.",
)


class OneEncoder(local.Encoder):
    """Loaded once, and each question encoded once, for all the memories that are opened."""

    def encode_queries(self, texts: Sequence[str]) -> Any:
        return self._encoded(tuple(texts))

    @functools.cache  # noqa: B019 - there is one
    def _encoded(self, texts: tuple[str, ...]) -> Any:
        return super().encode_queries(list(texts))


def encode_once(patch: pytest.MonkeyPatch) -> None:
    """Let all memories that are opened have one encoder."""
    patch.setattr(local, "Encoder", functools.cache(OneEncoder))


def write_corpus(folder: Path, name: str, documents: range, *, bad_row: bool = False) -> None:
    """One file of short documents; equal numbers give equal documents."""
    folder.mkdir(exist_ok=True)
    rows = [
        json.dumps({"id": f"d{n}", "title": f"Town {n}", "text": f"{_SENTENCES[n % 6]} Founded in {1200 + n}."})
        for n in documents
    ]
    (folder / name).write_text("\n".join([*rows, *(["{not json"] if bad_row else [])]) + "\n")


def build_inline(source: Path, memory: Path, indexes: dict[str, Any] = INDEXES, **sections: Any) -> BuildResult:
    """Build without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)
        return build({"source": {"path": str(source)}, "indexes": indexes, **sections}, memory=memory)


def build_small(folder: Path) -> Path:
    """A memory of two snapshots, with rows in all tables and all kinds of indexes."""
    source, memory = folder / "source", folder / "memory"
    write_triples(folder / "triples.jsonl")
    write_pairs(folder / "pairs.jsonl")
    saved("llama", folder / "model")
    write_corpus(source, "a.jsonl", range(6), bad_row=True)
    build_again(folder, memory)
    write_corpus(source, "b.jsonl", range(6, 12))
    build_again(folder, memory)
    return memory


def build_again(folder: Path, memory: Path) -> BuildResult:
    """What `build_small` builds of the source that is in the folder."""
    sections = {
        "ngram_pairs": PAIRS,
        "triples": {"from": str(folder / "triples.jsonl")},
        "qa_pairs": {"from": str(folder / "pairs.jsonl")},
        "lm": {"tiny": {"model": str(folder / "model"), "window": 32, "overlap": 8}},
    }
    indexes = {
        **INDEXES,
        "walk": {"type": "graph"},
        "next": {"type": "knn_lm", "factory": "Flat"},
        "asked": {"type": "qa"},
    }
    return build_inline(folder / "source", memory, indexes, **sections)


def write_triples(path: Path) -> None:
    """What the documents say, in triples; towns of almost one name are synonyms."""
    places = ("the river", "the harbour", "the hills", "the market hall", "the coast", "the marshes")
    rows = [{"id": f"d{n}", "entities": [], "triples": [[f"Town {n}", "lies at", places[n % 6]]]} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_pairs(path: Path) -> None:
    """Questions of the documents, and one of none."""
    rows = [{"question": f"What lies near Town {n}?", "answer": "the river", "passage_id": f"d{n}"} for n in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"question": "What is old?", "answer": "war"}]))


def answers(root: Path) -> dict[str, Any]:
    """What a memory that is opened again answers: hits of every index, rows of every view, or an error of ours."""
    try:
        memory = Memory(root)
    except MnemodexError as error:
        return {"open": error}
    told = {f"search {name}": _ask(lambda name=name: _hits(memory, name)) for name in memory.indexes}
    for view in (*memory.snapshot.views, "files", "indexes", "shards", "snapshots"):
        query = f"SELECT * FROM {view} ORDER BY ALL"
        told[f"sql {view}"] = _ask(lambda query=query: memory.sql(query).to_arrow_table().to_pylist())
    return told


def _hits(memory: Memory, name: str) -> list[Any]:
    retriever = memory.retriever(name)
    filtered = retriever.search(QUESTIONS, 2, where="title LIKE '%1' OR d.key = 'd4'")
    return [*retriever.search(QUESTIONS, 5).to_arrow().to_pylist(), *filtered.to_arrow().to_pylist()]


def _ask(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except MnemodexError as error:
        return error
