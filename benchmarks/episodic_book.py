"""EpBench (Huet et al. 2025): which chapters of a book a cue asks for, in which order, and which is the latest.

The chapters' texts alone are read, neither the cues nor the events behind them. Chapters are dated by the first date in
their text. Recall is that of gold chapters among the first k, by how many there are. Of questions for an order,
Kendall's tau compares the dates of the gold chapters that are found among the first ten with the gold order. Of
questions for the latest event, as many chapters are looked at as match (the benchmark's oracle), and the latest of them
is the answer. Intervals are bootstrapped over questions, at 95 %.
"""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from episodic_tables import interval

import mnemodex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DATE = re.compile(r"\b([A-Z][a-z]+ \d{1,2}, \d{4})\b")
_FIRST = 10
_ORDERED = 2
"""Chapters that an order takes, at least."""


def measure(folder: Path, work: Path) -> list[dict[str, Any]]:
    """Build a memory of a book and measure each of its indexes."""
    chapters = _lines(folder / "corpus.jsonl.gz")
    questions = [question for question in _lines(folder / "queries.jsonl.gz") if question["gold_ids"]]
    indexes = {
        "words": {"type": "bm25"},
        "dense": {"type": "dense", "factory": "Flat"},
        "by_ranks": {"type": "hybrid", "of": ["words", "dense"]},
        "by_scores": {"type": "hybrid", "of": ["words", "dense"], "fuse": "scores", "weights": "auto"},
    }
    source = {"path": str(folder / "corpus.jsonl.gz"), "fields": {"key": "id", "title": "title", "text": "text"}}
    mnemodex.build({"memory": str(work / "book"), "source": source, "indexes": indexes})
    memory = mnemodex.open(work / "book")
    dates = {chapter["id"]: _date(chapter["text"]) for chapter in chapters}
    rows = []
    for index in memory.indexes:
        found = memory.retriever(index).search([question["question"] for question in questions], _FIRST).documents()
        answers = [[key for key, _ in answer] for answer in found]
        rows.append({"index": index, **_recall(questions, answers), **_order(questions, answers, dates)})
    return rows


def _recall(questions: Sequence[dict[str, Any]], answers: Sequence[list[str]]) -> dict[str, Any]:
    """Return recall among the first five and ten by the number of gold chapters."""
    bins = {"1": (1, 1), "2": (2, 2), "3 and more": (3, len(questions))}
    row: dict[str, Any] = {}
    for name, (fewest, most) in bins.items():
        chosen = [
            (set(question["gold_ids"]), answer)
            for question, answer in zip(questions, answers, strict=True)
            if fewest <= len(question["gold_ids"]) <= most
        ]
        for k in (5, _FIRST):
            values = [len(gold & set(answer[:k])) / len(gold) for gold, answer in chosen]
            row[f"R@{k}, {name} gold ({len(chosen)})"] = interval(values)
    return row


def _order(
    questions: Sequence[dict[str, Any]], answers: Sequence[list[str]], dates: dict[str, datetime]
) -> dict[str, Any]:
    """Return Kendall's tau of chronological questions, and how often the latest chapter is right."""
    taus, complete, latest = [], [], []
    for question, answer in zip(questions, answers, strict=True):
        gold = question["gold_ids"]
        if question["get"] == "latest":
            matching = answer[: question["n_chapters"]]
            latest.append(float(max(matching, key=lambda key: dates[key], default="") == gold[0]))
        if question["get"] == "chronological" and len(gold) >= _ORDERED:
            found = [key for key in gold if key in answer]
            complete.append(len(found) / len(gold))
            if len(found) >= _ORDERED:
                taus.append(_tau([dates[key] for key in found]))
    return {
        "Kendall's tau": interval(taus),
        "chapters in order found": interval(complete),
        f"latest, oracle k ({len(latest)})": interval(latest),
    }


def _tau(dates: Sequence[datetime]) -> float:
    """Return Kendall's tau between some dates and their ascending order."""
    pairs = [(first, second) for place, first in enumerate(dates) for second in dates[place + 1 :]]
    return float(np.mean([np.sign((second - first).days) for first, second in pairs]))


def _date(text: str) -> datetime:
    """Return the first date in a text, the earliest one where there is none."""
    for found in _DATE.findall(text):
        try:
            return datetime.strptime(found, "%B %d, %Y")
        except ValueError:
            continue
    return datetime.min


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
