"""Growing histories: what is still found where more conversations share one memory.

Messages are chunks. The questions of each conversation are asked where it is alone, and where 2, 5 and all
conversations are searched together: recall of gold messages among the first ten, by an exhaustive dense search
(`dense`), BM25, and what fuses them. The last columns are the tokens of the whole history, which a reader without a
memory would read, and roughly those of ten hits. Intervals are bootstrapped over questions, at 95 %.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from episodic_tables import interval

import mnemodex

if TYPE_CHECKING:
    from pathlib import Path

_FIRST = 10
_SIZES = (1, 2, 5)


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Measure memories of more and more conversations; every conversation is the first one once."""
    messages, questions = (_lines(folder / f"{name}.jsonl.gz") for name in ("corpus", "queries"))
    conversations = sorted({message["conversation"] for message in messages})
    memory = _build(folder, work)
    return [_row(memory, questions, conversations, size) for size in sorted({*_SIZES, len(conversations)}) if size]


def _build(folder: Path, work: Path) -> mnemodex.Memory:
    fields = {"key": "id", "title": "title", "text": "text"}
    indexes = {
        "words": {"type": "bm25"},
        "dense": {"type": "dense", "factory": "Flat"},
        "by_ranks": {"type": "hybrid", "of": ["words", "dense"]},
        "by_scores": {"type": "hybrid", "of": ["words", "dense"], "fuse": "scores", "weights": "auto"},
    }
    source = {"path": str(folder / "corpus.jsonl.gz"), "fields": fields, "metadata": {"conversation": "string"}}
    mnemodex.build({"memory": str(work / "chats"), "source": source, "indexes": indexes})
    return mnemodex.open(work / "chats")


def _row(
    memory: mnemodex.Memory, questions: list[dict[str, Any]], conversations: list[str], size: int
) -> dict[str, Any]:
    """Return recall where each conversation shares a memory with those that follow it, `size` in all."""
    found: dict[str, list[float]] = {index: [] for index in memory.indexes}
    tokens, read = [], []
    for number, conversation in enumerate(conversations):
        asked = [one for one in questions if one["conversation"] == conversation and one["gold_ids"]]
        shared = [conversations[(number + step) % len(conversations)] for step in range(size)]
        where = "d.conversation IN ({})".format(", ".join(f"'{name}'" for name in shared))
        answer = memory.sql(
            f"SELECT sum(c.tokens) FROM chunks c JOIN documents d USING (doc_id) WHERE {where}"  # noqa: S608 - names of the data set
        )
        tokens.append(float(answer.fetchall()[0][0]))
        for index in memory.indexes:
            hits = memory.retriever(index).search([one["question"] for one in asked], _FIRST, where=where)
            for one, documents in zip(asked, hits.documents(), strict=True):
                gold = set(one["gold_ids"])
                found[index].append(len(gold & {key for key, _ in documents}) / len(gold))
        read.append(float(np.mean([sum(len(chunk.text) for chunk in row) / 4 for row in hits])))
    recalls = {f"R@{_FIRST}, {index}": interval(values) for index, values in found.items()}
    return {
        "conversations": size,
        **recalls,
        "tokens of the history": round(float(np.mean(tokens))),
        "of ten hits, roughly": round(float(np.mean(read))),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
