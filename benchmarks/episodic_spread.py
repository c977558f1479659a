"""Hits that are spread over the time of a conversation: what that brings for orders and summaries, and what it costs.

    python benchmarks/episodic_spread.py FOLDER [--work FOLDER] [--json FILE]

The first hundred hits within the conversation are put in another order:

- by sessions, or by thirds or fifths of the conversation: the best hit of each, then the second best of each;
- by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with time as the similarity: from the standing of
  a hit, `weight` x exp(-distance to the nearest chosen one / `reach`) is taken; the distance is a part of the
  conversation.

Recall of gold messages among the first ten, by kind, and its paired differences from the order before, in points with
the bootstrapped 95 % interval. The table has a row for each half of the conversations: settings are chosen on one half,
and measured on the other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fusion import halves, interval, open_data
from report import publish

from mnemodex.retrievers.fusion import standing_of
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.retrievers.queries import search_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.indexers.arrays import Float64s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.queries import Query

    Spread = Callable[["Found"], Int64s]

_DEPTH = 100
_FIRST = 10
_WIDE = ("event_ordering", "summarization")
_INDEXES = ("auto", "turn-before", "dense")


class Found:
    """The hits of a question: keys, standings, sessions, and where each is in its conversation, from 0 to 1."""

    def __init__(self, keys: list[str], standing: Float64s, sessions: Int64s, time: Float64s) -> None:
        self.keys, self.standing, self.sessions, self.time = keys, standing, sessions, time


def in_turn(found: Found, slices: Int64s) -> Int64s:
    """Return the hits in the order: the best of each slice, the second best of each, and so on."""
    earlier = [int((slices[:hit] == slices[hit]).sum()) for hit in range(len(slices))]
    return np.argsort(earlier, kind="stable")


def marginal(found: Found, weight: float, reach: float) -> Int64s:
    """Return the first ten hits by maximal marginal relevance over time."""
    chosen: list[int] = []
    nearest, left = np.zeros(len(found.keys)), np.ones(len(found.keys), np.bool_)
    while len(chosen) < min(_FIRST, len(found.keys)):
        best = int(np.where(left, found.standing - weight * nearest, -np.inf).argmax())
        chosen.append(best)
        left[best] = False
        nearest = np.maximum(nearest, np.exp(-np.abs(found.time - found.time[best]) / reach))
    return np.array(chosen)


SPREADS: dict[str, Spread] = {
    "as found": lambda found: np.arange(len(found.keys)),
    "by sessions": lambda found: in_turn(found, found.sessions),
    "by thirds": lambda found: in_turn(found, (found.time * 3).astype(np.int64)),
    "by fifths": lambda found: in_turn(found, (found.time * 5).astype(np.int64)),
    "marginal, weight 0.5": lambda found: marginal(found, 0.5, 0.1),
    "marginal, weight 2": lambda found: marginal(found, 2.0, 0.1),
}


def search(memory: Memory, index: str, queries: list[Query]) -> list[Found]:
    """Return the first hits of an index for questions, each within its conversation."""
    rows = memory.sql("SELECT key, metadata FROM documents").fetchall()
    about = {key: json.loads(metadata) for key, metadata in rows}
    number = {key: int(key.split(":")[1]) for key in about}
    last: dict[str, int] = {}
    for key, fields in about.items():
        last[fields["conversation"]] = max(number[key], last.get(fields["conversation"], 0))

    def found(questions: list[str], where: str | None) -> list[Found]:
        hits = memory.retriever(index).search(questions, _DEPTH, where=where)
        standings = standing_of(hits, _DEPTH)
        answers = []
        for ids, standing, chunks in zip(hits.ids, standings, hits, strict=True):
            keys = [chunk.key for chunk in chunks]
            sessions = np.array([about[key]["session"] for key in keys], np.int64)
            time = np.array([number[key] / (last[about[key]["conversation"]] + 1) for key in keys])
            answers.append(Found(keys, standing[ids != MISSING_ID], sessions, time))
        return answers

    return search_each(queries, found)


def recall(found: Found, order: Int64s, gold: dict[str, int]) -> float:
    """Return the part of the gold messages that are among the first ten."""
    return len({found.keys[hit] for hit in order[:_FIRST].tolist()} & set(gold)) / len(gold)


def measure(memory: Memory, label: str, queries: list[Query]) -> list[dict[str, Any]]:
    """Return a row for each index and order of its hits."""
    kinds = np.array([query.kind for query in queries])
    groups = {name: kinds == name for name in _WIDE}
    groups |= {"other kinds": ~np.isin(kinds, _WIDE), "all": np.ones(len(kinds), np.bool_)}
    rows = []
    for index in _INDEXES:
        found = search(memory, index, queries)
        values = {
            name: np.array([recall(one, spread(one), query.gold) for one, query in zip(found, queries, strict=True)])
            for name, spread in SPREADS.items()
        }
        for name, recalls in values.items():
            row: dict[str, Any] = {"conversations": label, "index": index, "order": name}
            for group, asked in groups.items():
                changes = (recalls - values["as found"])[asked]
                row[f"{group} ({asked.sum()})"] = f"{recalls[asked].mean():.3f}"
                row[f"{group}: difference"] = f"{changes.mean():+.3f} ({interval(changes)})"
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path("memories/fusion"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    memory, queries, conversations = open_data(options.folder, options.work)
    split = halves(queries, conversations)
    rows = [row for label, half in split.items() for row in measure(memory, label, half)]
    publish(f"Hits spread over time: {options.folder.name}", rows, json_path=options.json)


if __name__ == "__main__":
    main()
