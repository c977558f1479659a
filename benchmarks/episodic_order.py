"""Sequence order recall (SORT, Pink et al. 2024): which of two segments of a book came first.

The books are chunked and indexed. Both segments of a trial, as they are or with half of their words left out at random,
are one question; its hits are packed in the order of the source. Each segment lies where as many words in a row of the
context as it has share most of its words, and offsets in the book are those of the context's pieces: the earlier place
is the answer. A segment is located where this place overlaps its own. Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from episodic_tables import share

import mnemodex
from mnemodex.retrievers.packing import pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.packing import Context
    from mnemodex.retrievers.spans import Piece

_WORD = re.compile(r"\w+")
_CHUNKS = (64, 128)
"""Tokens of a chunk."""
_HITS = 8
"""Of a question: two segments of 50 words have two to six chunks of 64 tokens, and a book has 200 or more."""
_BUDGET = 800
"""Tokens of a context."""
_SEGMENT = 50
"""Words of a segment."""


class Place(NamedTuple):
    """Characters [start, end) of a book."""

    start: int
    end: int


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build a memory of the books and answer all trials, with all words and with half of them."""
    with gzip.open(folder / "sort_trials.jsonl.gz", "rt", encoding="utf-8") as file:
        trials = [json.loads(line) for line in file]
    books = {
        path.name.removesuffix(".txt.gz"): gzip.decompress(path.read_bytes()).decode("utf-8")
        for path in sorted(folder.glob("*.txt.gz"))
    }
    rows = []
    for tokens in _CHUNKS:
        memory = build(books, work / str(tokens), tokens)
        rows += [{"chunks of": tokens, **answer(memory.retriever("words"), books, trials, kept)} for kept in (1.0, 0.5)]
    return rows


def build(books: dict[str, str], work: Path, tokens: int) -> mnemodex.Memory:
    """Build a memory of the books."""
    work.mkdir()
    source = work / "books.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for key, text in books.items():
            file.write(json.dumps({"id": key, "text": text}) + "\n")
    recipe = {
        "memory": str(work / "memory"),
        "source": {"path": str(source), "fields": {"key": "id", "text": "text"}},
        "chunks": {"by": "tokens", "size": tokens, "overlap": 0},
        "indexes": {"words": {"type": "bm25"}},
    }
    mnemodex.build(recipe)
    return mnemodex.open(work / "memory")


def answer(
    retriever: Retriever, books: dict[str, str], trials: Sequence[dict[str, Any]], kept: float
) -> dict[str, Any]:
    """Answer all trials with a part of the segments' words."""
    right, located, tokens, pieces, exact = 0.0, 0, 0, 0, 0
    for book, text in books.items():
        chosen = [(number, trial) for number, trial in enumerate(trials) if trial["book"] == book]
        segments = [[masked(trial[f"segment_{side}"], kept, seed=number) for side in "ab"] for number, trial in chosen]
        hits = retriever.search(["\n".join(both) for both in segments], _HITS, where=f"d.key = '{book}'")
        contexts = pack(hits, budget=_BUDGET, order="source")
        for (_, trial), both, context in zip(chosen, segments, contexts, strict=True):
            first, second = (locate(segment, context) for segment in both)
            located += sum(covers(place, trial[f"span_{side}"]) for place, side in ((first, "a"), (second, "b")))
            if first is not None and second is not None and first.start != second.start:
                right += ("a" if first.start < second.start else "b") == trial["earlier"]
            else:
                right += 0.5
            found = pieces_of(context)
            tokens, pieces = tokens + context.tokens, pieces + len(found)
            exact += sum(text[piece.start : piece.end] == piece.text and piece.key == book for piece in found)
    return {
        "index": retriever.name,
        "words kept": kept,
        "trials": len(trials),
        "accuracy": share(right, len(trials)),
        "segments located": share(located, 2 * len(trials)),
        "tokens of a context": tokens / len(trials),
        "pieces": pieces,
        "pieces that are the book's text at their offsets": exact,
    }


def masked(segment: str, kept: float, *, seed: int) -> str:
    """Return a segment with a part of its words, drawn at random, in order."""
    words = segment.split()
    chosen = np.random.default_rng(seed).permutation(len(words))[: round(kept * len(words))]
    return " ".join(words[place] for place in sorted(chosen.tolist()))


def pieces_of(context: Context) -> list[Piece]:
    """Return the pieces of a context in its order."""
    return [piece for span in context.spans for piece in span.pieces]


def locate(segment: str, context: Context) -> Place | None:
    """Return the words in a row of a piece of the context that share most with a segment; None in an empty context."""
    wanted = {word.casefold() for word in _WORD.findall(segment)}
    most, place = 0, None
    for piece in pieces_of(context):
        words = list(_WORD.finditer(piece.text))
        length = min(_SEGMENT, len(words))
        if not length:
            continue
        shared = np.convolve([word.group().casefold() in wanted for word in words], np.ones(length, np.int64), "valid")
        best = int(shared.argmax())
        if shared[best] > most:
            most = int(shared[best])
            place = Place(piece.start + words[best].start(), piece.start + words[best + length - 1].end())
    return place


def covers(place: Place | None, span: Sequence[int]) -> bool:
    """Return whether a place and a span of characters overlap."""
    return place is not None and place.start < span[1] and span[0] < place.end
