"""Sequence order recall (SORT, Pink et al. 2024): which of two segments of a book came first.

The books are chunked and indexed. Each segment is searched for in its book, as it is, and with half of its words left
out at random; it lies where the first hit lies, and the earlier place is the answer. Where both segments hit one chunk,
the places of the words that they share with it decide. A segment is found where its first hit covers some of its place.
Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from episodic_tables import share

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.hits import Chunk

_WORD = re.compile(r"\w+")
_CHUNKS = (64, 128)
"""Tokens of a chunk."""


class Place(NamedTuple):
    """Where a segment is found: characters of the chunk, and of the words within it that are the segment's."""

    start: int
    end: int
    center: float


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build a memory of the books and answer all trials, with all words and with half of them."""
    with gzip.open(folder / "sort_trials.jsonl.gz", "rt", encoding="utf-8") as file:
        trials = [json.loads(line) for line in file]
    rows = []
    for tokens in _CHUNKS:
        memory = build(folder, work / str(tokens), tokens)
        rows += [
            {"chunks of": tokens, **answer(memory.retriever(index), trials, kept)}
            for index in memory.indexes
            for kept in (1.0, 0.5)
        ]
    return rows


def build(folder: Path, work: Path, tokens: int) -> mnemodex.Memory:
    """Build a memory of the books."""
    work.mkdir()
    source = work / "books.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for book in sorted(folder.glob("*.txt.gz")):
            text = gzip.decompress(book.read_bytes()).decode("utf-8")
            file.write(json.dumps({"id": book.name.removesuffix(".txt.gz"), "text": text}) + "\n")
    recipe = {
        "memory": str(work / "memory"),
        "source": {"path": str(source), "fields": {"key": "id", "text": "text"}},
        "chunks": {"by": "tokens", "size": tokens, "overlap": 0},
        "indexes": {"words": {"type": "bm25"}},
    }
    mnemodex.build(recipe)
    return mnemodex.open(work / "memory")


def answer(retriever: Retriever, trials: Sequence[dict[str, Any]], kept: float) -> dict[str, Any]:
    """Answer all trials with a part of the segments' words."""
    places = {side: find(retriever, trials, f"segment_{side}", kept) for side in "ab"}
    right, found = 0, 0
    for trial, first, second in zip(trials, places["a"], places["b"], strict=True):
        spans = (trial["span_a"], trial["span_b"])
        found += sum(covers(place, span) for place, span in zip((first, second), spans, strict=True))
        if first is not None and second is not None and first.center != second.center:
            right += ("a" if first.center < second.center else "b") == trial["earlier"]
        else:
            right += 0.5
    return {
        "index": retriever.name,
        "words kept": kept,
        "trials": len(trials),
        "accuracy": share(right, len(trials)),
        "segments found": share(found, 2 * len(trials)),
    }


def find(retriever: Retriever, trials: Sequence[dict[str, Any]], field: str, kept: float) -> list[Place | None]:
    """Return where the segments of each trial are found; None where nothing is."""
    places: list[Place | None] = [None] * len(trials)
    for book in sorted({trial["book"] for trial in trials}):
        rows = [row for row, trial in enumerate(trials) if trial["book"] == book]
        questions = [masked(trials[row][field], kept, seed=row) for row in rows]
        hits = retriever.search(questions, 1, where=f"d.key = '{book}'")
        for row, question, chunks in zip(rows, questions, hits, strict=True):
            places[row] = locate(question, chunks[0]) if chunks else None
    return places


def masked(segment: str, kept: float, *, seed: int) -> str:
    """Return a segment with a part of its words, drawn at random, in order."""
    words = segment.split()
    chosen = np.random.default_rng(seed).permutation(len(words))[: round(kept * len(words))]
    return " ".join(words[place] for place in sorted(chosen.tolist()))


def locate(question: str, chunk: Chunk) -> Place:
    """Return where the question's words are in a chunk: at the mean of their places."""
    wanted = {word.casefold() for word in _WORD.findall(question)}
    shared = [match.start() for match in _WORD.finditer(chunk.text) if match.group().casefold() in wanted]
    center = chunk.start + (float(np.mean(shared)) if shared else len(chunk.text) / 2)
    return Place(chunk.start, chunk.end, center)


def covers(place: Place | None, span: Sequence[int]) -> bool:
    """Whether a place and a span of characters overlap."""
    return place is not None and place.start < span[1] and span[0] < place.end
