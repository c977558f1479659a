"""What contexts of a fixed budget of tokens hold of the answers, by how documents are cut into chunks.

    python benchmarks/episodic_packed.py FOLDER... [--budgets N...] [--longest N] [--half] [--work DIR] [--json FILE]

Chunks are searched by MiniLM vectors, exactly, and hits are packed. Data sets in the normal form:

- whole articles and questions with `answer_spans` (nq_longdocs50): the articles of these questions;
- passages and questions with answers that are in them (squad_xquad_en): 20 passages joined are a document;
- messages of conversations (beam_100k_dev): a document is what the user says in a session, and a question is searched
  in its conversation. Gold is the messages of the user.

An answer is held where a piece of the context holds one of its spans; of messages it is the part of their characters
that the context has. With each size of events there are windows of the same tokens, of the events' mean size, and such
windows that begin with a word. Intervals are of the bootstrap over questions, paired for differences, at 95 %. With
--work, memories are kept and found again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from episodic_events import MODEL, WordWindows
from episodic_tables import interval
from graph_retrieval import SPENT, InProcess
from report import publish

import mnemodex
from mnemodex.indexers.models import language_model
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.stages.lm_tokens import TokenStats
from mnemodex.retrievers.packing import pack
from mnemodex.retrievers.queries import Query, search_each

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float64s
    from mnemodex.retrievers.packing import Context

CHUNKERS = {name: {"by": name} for name in ("document", "tokens", "sentences", "headings")}
EVENTS: dict[str, dict[str, Any]] = {"events": {}, "events of 64 to 256": {"min_size": 64, "max_size": 256}}
_JOINED = 20
_HITS = 200
"""That are packed: of events of 12 tokens a budget of 1,000 takes some 80."""


@dataclass(frozen=True)
class Question:
    """A question, where it is asked, and what answers it.

    Attributes:
        spans: key of a document, and the characters [start, end) of its text.
        parts: whether all spans are wanted, and parts of them count; else any whole one.
    """

    text: str
    where: str | None
    spans: list[tuple[str, int, int]]
    parts: bool


@dataclass(frozen=True)
class Data:
    """Documents in the normal form, and questions about them."""

    documents: list[dict[str, Any]]
    questions: list[Question]


def load(folder: Path, texts: int | None, longest: int) -> Data:
    """Return the documents and questions of a data set, of its first texts, without longer ones."""
    rows = _lines(folder / "corpus.jsonl.gz")[:texts]
    asked = _lines(next(folder.glob("queries.jsonl*")))
    if "conversation" in rows[0]:
        return _conversations(rows, asked, longest)
    rows = [row for row in rows if len(row["text"]) <= longest]
    return _articles(rows, asked) if any("answer_spans" in one for one in asked) else _passages(rows, asked)


def _articles(rows: list[dict[str, Any]], asked: list[dict[str, Any]]) -> Data:
    questions = [
        Question(one["question"], None, [(one["gold_ids"][0], *span) for span in one["answer_spans"]], parts=False)
        for one in asked
        if one.get("answer_spans")
    ]
    answering = {key for one in questions for key, _, _ in one.spans}
    documents = [row for row in rows if row["id"] in answering]
    known = {row["id"] for row in documents}
    return _known(documents, [one for one in questions if one.spans[0][0] in known])


def _passages(rows: list[dict[str, Any]], asked: list[dict[str, Any]]) -> Data:
    documents, places = _join([(str(number // _JOINED), row) for number, row in enumerate(rows)])
    texts = {row["id"]: row["text"] for row in rows}
    questions = []
    for one in asked:
        key = one["gold_ids"][0]
        if key in places:
            document, offset = places[key]
            found = [(texts[key].find(answer), len(answer)) for answer in one["answers"]]
            spans = [(document, offset + start, offset + start + length) for start, length in found if start >= 0]
            questions.append(Question(one["question"], None, spans, parts=False))
    return _known(documents, questions)


def _conversations(rows: list[dict[str, Any]], asked: list[dict[str, Any]], longest: int) -> Data:
    said = [row for row in rows if row["role"] == "user"]
    sizes: Counter[str] = Counter()
    for row in said:
        sizes[row["conversation"]] += len(row["text"])
    said = [row for row in said if sizes[row["conversation"]] <= longest]
    documents, places = _join([(f"{row['conversation']}:{row['session']}", row) for row in said])
    for document in documents:
        document["conversation"] = document["id"].split(":")[0]
    lengths = {row["id"]: len(row["text"]) for row in said}
    questions = [
        Question(
            one["question"],
            f"metadata->>'conversation' = '{one['conversation']}'",
            [(*places[key], places[key][1] + lengths[key]) for key in one["gold_ids"] if key in places],
            parts=True,
        )
        for one in asked
    ]
    return _known(documents, questions)


def _join(rows: list[tuple[str, dict[str, Any]]]) -> tuple[list[dict[str, Any]], dict[str, tuple[str, int]]]:
    """Return the documents that rows with their keys become, and in which one each row begins at which character."""
    documents: dict[str, dict[str, Any]] = {}
    places = {}
    for key, row in rows:
        document = documents.setdefault(key, {"id": key, "title": "", "text": ""})
        before = document["text"] + ("\n\n" if document["text"] else "")
        places[row["id"]] = key, len(before)
        document["text"] = before + row["text"]
    return list(documents.values()), places


def _known(documents: list[dict[str, Any]], questions: list[Question]) -> Data:
    return Data(documents, [one for one in questions if one.spans])


def _lines(path: Path) -> list[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def measure(data: Data, folder: Path, budgets: list[int]) -> list[dict[str, Any]]:
    """Return a row for every way to cut documents; differences are of the events above them."""
    rows = []
    for name, chunks in CHUNKERS.items():
        held, about = _answer(data, folder / name, chunks, budgets)
        rows.append({"chunks": name, **about, **_columns(held)})
    for name, settings in EVENTS.items():
        held, about = _answer(data, folder / "read", {"by": "events", "lm": "smol", **settings}, budgets)
        rows.append({"chunks": name, **about, **_columns(held)})
        width = max(1, round(about["mean tokens"]))
        windows = {"by": "tokens", "size": width, "tokenizer": MODEL}
        for label, cut in ((f"windows of {width}", windows), (f"windows of {width}, of words", WordWindows(width))):
            others, about = _answer(data, folder / label.replace(" ", "-"), cut, budgets)
            better = {budget: held[budget] - others[budget] for budget in budgets}
            rows.append({"chunks": label, **about, **_columns(others), **_columns(better, "events - these")})
    return rows


def _columns(values: dict[int, Float64s], label: str = "held") -> dict[str, str]:
    return {f"{label}, {budget} tokens": interval(found.tolist()) for budget, found in values.items()}


def _answer(
    data: Data, memory: Path, chunks: dict[str, Any] | WordWindows, budgets: list[int]
) -> tuple[dict[int, Float64s], dict[str, Any]]:
    """Build a memory, and return how much of each answer its contexts of each budget hold, and about its chunks."""
    events = isinstance(chunks, dict) and chunks["by"] == "events"
    recipe: dict[str, Any] = {"source": {"path": str(memory.parent)}, "memory": str(memory)}
    recipe["indexes"] = {"dense": {"type": "dense", "factory": "Flat"}}
    recipe |= {"lm": {"smol": {"model": MODEL}}} if events else {}
    recipe |= {"chunks": chunks} if isinstance(chunks, dict) else {}
    SPENT.clear()
    mnemodex.build(recipe, source=data.documents, chunker=chunks if isinstance(chunks, WordWindows) else None)
    print(memory.name, {step: round(seconds, 1) for step, seconds in SPENT.items() if seconds > 1}, flush=True)
    opened = mnemodex.open(memory)
    count, characters = opened.sql('SELECT count(*), sum("end" - start) FROM chunks').fetchall()[0]
    about: dict[str, Any] = {"count": count, "mean characters": characters / count}
    if events:
        table = opened.snapshot.manifest.tables["lm_tokens/smol"]
        about["mean tokens"] = sum(part.stats.of(TokenStats).tokens for part in table.partitions) / count
    asked = [Query(str(number), one.text, {}, where=one.where) for number, one in enumerate(data.questions)]
    retriever, held = opened.retriever("dense"), {}
    for budget in budgets:

        def contexts(questions: list[str], where: str | None, budget: int = budget) -> list[Context]:
            return pack(retriever.search(questions, _HITS, where=where), budget=budget)

        packed = search_each(asked, contexts)
        held[budget] = np.array([_held(one, context) for one, context in zip(data.questions, packed, strict=True)])
        about[f"read of {budget}"] = float(np.mean([context.tokens for context in packed]))
    opened.close()
    return held, about


def _held(question: Question, context: Context) -> float:
    """Return 1 where a piece of the context holds one of the spans, or the part of the spans' characters in it."""
    pieces = [(piece.key, piece.start, piece.end) for span in context.spans for piece in span.pieces]
    if not question.parts:
        return float(
            any(key == name and start <= a and b <= end for name, a, b in question.spans for key, start, end in pieces)
        )
    shared = sum(
        max(0, min(b, end) - max(a, start))
        for name, a, b in question.spans
        for key, start, end in pieces
        if key == name
    )
    return shared / sum(b - a for _, a, b in question.spans)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--budgets", type=int, nargs="+", default=[200, 1000], help="MiniLM tokens of a context")
    parser.add_argument("--texts", type=int, help="of the corpus, from its first on")
    parser.add_argument(
        "--longest",
        type=int,
        default=10**9,
        help="characters of an article, or of a conversation; leaves out longer",
    )
    parser.add_argument("--half", action="store_true", help="read in bf16, as a GPU does: half of the CPU's time")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    run_module.choose_engine = InProcess  # type: ignore[assignment] # so that CPU times are this process's
    if given.half:
        language_model.choose_device = lambda: (torch.device("cpu"), torch.bfloat16)
    rows = []
    for folder in given.folders:
        data = load(folder, given.texts, given.longest)
        with nullcontext(given.work) if given.work else tempfile.TemporaryDirectory() as work:
            part = Path(work) / folder.name
            part.mkdir(parents=True, exist_ok=True)
            table = measure(data, part, given.budgets)
        characters = sum(len(document["text"]) for document in data.documents)
        sizes = f"{len(data.documents)} documents, {characters} characters, {len(data.questions)} questions"
        publish(f"Contexts, {folder.name}: {sizes}", table, json_path=None)
        rows += [{"data": folder.name, **row} for row in table]
    if given.json:
        publish("Contexts", rows, json_path=given.json)


if __name__ == "__main__":
    main()
