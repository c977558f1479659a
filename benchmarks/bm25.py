"""BM25 over many short documents: what building costs at 1,024 descriptors, and a search against bm25s in memory.

    python benchmarks/bm25.py [--rows N] [--questions N] [--json FILE]
    python benchmarks/bm25.py --languages [--json FILE]

The build is a command of its own: documents, chunks, the BM25 index. Searches, in one thread, are those of an opened
memory, from the text of the questions to ids and scores; bm25s searches the same tokens, its index held in memory and
its texts tokenised by the same code, with its numpy and its numba backend. Each figure is the best of three.
With `--languages`, how many of the eight questions in each language find their text first, and among the first three,
by an index of that language where it has stems, and by the default.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bm25s
import numpy as np
from bm25s.tokenization import Tokenized
from processes import measure
from report import publish

import mnemodex
from mnemodex.indexers.words import split_words
from mnemodex.retrievers.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DESCRIPTORS = 1024
K = 10
LANGUAGES = Path(__file__).parents[1] / "tests" / "indexers" / "languages.jsonl"
WORDS = 12
"""Words of a document."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--languages", action="store_true")
    options = parser.parse_args()
    if options.languages:
        publish("BM25, languages", list(languages()), json_path=options.json)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_documents(folder / "corpus.jsonl", options.rows)
        built = build(folder)
        found = search(folder, questions(folder / "corpus.jsonl", options.questions))
    publish("BM25, build", [built], json_path=None)
    publish("BM25, search", found, json_path=None)
    if options.json is not None:
        publish("BM25", [built, *found], json_path=options.json)


def languages() -> Iterator[dict[str, Any]]:
    """Yield R@1 and R@3 of the texts of each language in the tests."""
    lines = map(json.loads, LANGUAGES.read_text(encoding="utf-8").splitlines())
    for written_in, group in groupby(lines, itemgetter("written_in")):
        rows = list(group)
        source = [{"id": str(number), "text": row["text"]} for number, row in enumerate(rows)]
        for language in dict.fromkeys((rows[0]["language"], "english")):
            with tempfile.TemporaryDirectory() as memory:
                recipe = {"memory": memory, "indexes": {"words": {"type": "bm25", "language": language}}}
                mnemodex.build(recipe, source=source)
                retriever = mnemodex.open(memory).retriever("words")
                hits = retriever.search([row["question"] for row in rows], 3).chunks()
            keys = [[chunk.key for chunk in found] for found in hits]
            recall = {f"R@{k}": sum(str(i) in key[:k] for i, key in enumerate(keys)) / len(rows) for k in (1, 3)}
            yield {"written in": written_in, "language": language, **recall}


def write_documents(path: Path, rows: int) -> None:
    """Write one-line documents of words as frequent as Zipf's law has it, from a vocabulary that grows with them."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, rows, 10_000):
            words = rng.zipf(1.2, (min(10_000, rows - start), WORDS)) % (1 << 24)
            for number, row in enumerate(words.tolist(), start):
                text = " ".join(map(spell, row))
                file.write(json.dumps({"id": str(number), "title": "", "text": text}) + "\n")


def spell(number: int) -> str:
    """Return the word of a number, of syllables that are no stop word and have no ending."""
    syllables = [f"{a}{b}" for a in "bdfgkmpt" for b in "aou"]
    word = ""
    while True:
        number, syllable = divmod(number, len(syllables))
        word += syllables[syllable]
        if not number:
            return word + "x"


def questions(path: Path, number: int) -> list[str]:
    """Return five words each of some documents."""
    with path.open(encoding="utf-8") as file:
        lines = [line for _, line in zip(range(number * 50), file, strict=False)][::50]
    return [" ".join(json.loads(line)["text"].split()[:5]) for line in lines]


def build(folder: Path) -> dict[str, Any]:
    """Build the memory in a process of its own that may open few files."""
    recipe = {"memory": "memory", "source": "corpus.jsonl", "indexes": {"words": {"type": "bm25"}}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "mnemodex", "build", "recipe.yaml", "--json"]
    cost = measure(command, cwd=folder, descriptors=DESCRIPTORS)
    steps = {step["name"]: step for step in json.loads(cost.output)["steps"]}
    return {
        "rows": steps["chunks"]["rows"],
        "shards": steps["words"]["partitions"],
        "seconds": cost.seconds,
        "CPU seconds": cost.cpu_seconds,
        "peak MB of a process": cost.peak_bytes // 1_000_000,
        "index MB": steps["words"]["bytes"] // 1_000_000,
    }


def search(folder: Path, asked: list[str]) -> list[dict[str, Any]]:
    """Search one by one and in one batch, and compare the scores."""
    begun = time.process_time()
    retriever = mnemodex.open(folder / "memory").retriever("words")
    opening = time.process_time() - begun
    index = peer(Memory(folder / "memory"))
    answers = retriever.search(asked, K)
    rows = [{"search": "ours", "opened in CPU s": opening, **times(lambda texts: retriever.search(texts, K), asked)}]
    for backend in ("numpy", "numba"):
        index.backend = backend
        found = retrieve(index, asked)
        if not np.array_equal(np.sort(found, axis=1), np.sort(answers.scores, axis=1)):
            raise SystemExit(f"the scores differ from those of bm25s ({backend})")
        rows.append({"search": f"bm25s, {backend}", **times(lambda texts: retrieve(index, texts), asked)})
    return rows


def peer(memory: Memory) -> Any:
    """Return bm25s's index of the memory's chunks."""
    words = split_words([text for (text,) in memory.sql("SELECT text FROM chunks ORDER BY ALL").fetchall()])
    ids = [part.tolist() for part in np.split(words.ids, np.cumsum(words.lengths)[:-1])]
    vocabulary = {name: number for number, name in enumerate(words.names.to_pylist())}
    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    index.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
    return index


def retrieve(index: Any, texts: list[str]) -> Any:
    """Return the best scores, of shape (texts, K)."""
    words = split_words(texts)
    known = np.array([index.vocab_dict.get(name, -1) for name in words.names.to_pylist()])[words.ids]
    parts = [part[part >= 0].tolist() for part in np.split(known, np.cumsum(words.lengths)[:-1])]
    return index.retrieve(parts, k=K, show_progress=False).scores


def times(ask: Callable[[list[str]], Any], asked: list[str]) -> dict[str, float]:
    """CPU milliseconds a question, one by one and in one batch."""
    ask(asked)
    single = min(_seconds(lambda: [ask([text]) for text in asked]) for _ in range(3))
    batch = min(_seconds(lambda: ask(asked)) for _ in range(3))
    return {"ms, one by one": 1000 * single / len(asked), "ms, in a batch": 1000 * batch / len(asked)}


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
