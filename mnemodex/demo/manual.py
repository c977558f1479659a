"""The demo: a memory of the Python manual that ships inside every interpreter, and questions to each of its indexes."""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.demo.corpus import CHUNK_TOKENS, write_corpus
from mnemodex.pipelines.commands.building import report
from mnemodex.pipelines.commands.output import on_terminal, program
from mnemodex.retrievers.ngram.index import NgramIndex
from mnemodex.schemas.recipe import parse_recipe

if TYPE_CHECKING:
    from rich.console import Console

    from mnemodex.retrievers.hits import Chunk
    from mnemodex.retrievers.memory import Memory

QUESTIONS = (
    "How do I run code when an exception was not raised?",
    "remove and return the last item of a list",
    "What is the difference between is and ==?",
)
PHRASES = ("an exception is", "is equivalent to", "the value of")
INDEXES: dict[str, dict[str, Any]] = {
    "dense": {"type": "dense"},
    "words": {"type": "bm25"},
    "both": {"type": "hybrid", "of": ["dense", "words"], "fuse": "scores", "weights": "auto"},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "graph": {"type": "graph", "synonymy": None},
}
TRIPLES = {"extractor": "spacy", "max_facts": 2}


def run(folder: Path, *, full: bool, lm: bool) -> None:
    """Build the memory, show it, ask the questions, and say what to try next; `lm` adds a next-token memory."""
    from rich.console import Console

    from mnemodex.demo import next_token, pairs
    from mnemodex.pipelines.build import build
    from mnemodex.pipelines.progress import Progress
    from mnemodex.retrievers.memory import Memory

    if lm:
        next_token.check()
    # Rich assumes 80 columns off a terminal, too few for three indexes side by side.
    console = Console(soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 110)
    started = time.perf_counter()
    corpus = write_corpus(folder.parent / f"{folder.name}-source", full=full)
    recipe = parse_recipe(
        {
            "memory": str(folder.absolute()),
            "source": {"path": str(corpus.absolute())},
            "chunks": {"by": "tokens", "size": CHUNK_TOKENS, "overlap": 16},
            "triples": TRIPLES,
            "qa_pairs": pairs.PAIRS,
            "indexes": {**INDEXES, "qa": pairs.index(folder.parent / f"{folder.name}-questions.jsonl")},
        },
        name="demo",
        base=Path.cwd(),
    )
    console.print(f"Building the memory of the Python manual in {folder}\n")
    report(build(recipe, progress=Progress(bars=on_terminal())))
    memory = Memory(folder)
    console.print("")
    for question in QUESTIONS:
        _ask(console, memory, question)
    _phrases(console, memory)
    _graph(console, memory, folder)
    pairs.run(console, memory)
    console.print("The same in SQL: which parts of the manual are longest?")
    console.print(
        memory.sql(
            "SELECT title, sum(tokens) AS tokens FROM chunks GROUP BY title ORDER BY tokens DESC LIMIT 3"
        ).fetchall()
    )
    if lm:
        next_token.run(console, folder.parent / f"{folder.name}-lm")
    console.print(f"\nDone in {time.perf_counter() - started:.0f} s. Now try:")
    for arguments in (
        f'search {folder} both "how do decorators work" -k 3',
        f"sql {folder} \"SELECT title, text FROM chunks WHERE text LIKE '%augmented assignment%'\"",  # noqa: S608 - printed
        f'search {folder} ngrams "assignment expression"',
        f'search {folder} qa "what do dictionaries preserve?" -k 1',
        f"show {folder} dense",
    ):
        console.print(f"  {program()} {arguments}")


def _ask(console: Console, memory: Memory, question: str) -> None:
    """Print the first hits of each index, side by side."""
    from rich.table import Table
    from rich.text import Text

    names = [name for name in INDEXES if INDEXES[name]["type"] in ("dense", "bm25", "hybrid")]
    answers = {name: memory.retriever(name).search([question], k=3).chunks()[0] for name in names}
    table = Table(
        title=question, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 3, 0, 0)
    )
    for name in answers:
        table.add_column(name, overflow="ellipsis", no_wrap=True, ratio=1)
    for row in zip(*answers.values(), strict=True):
        table.add_row(*(Text(f"{chunk.score:.3f}  {chunk.title}") for chunk in row))
    console.print(table)
    best = answers[next(reversed(answers))][0]
    console.print(Text(f"{_first_words(best)}\n", style="dim"))


def _phrases(console: Console, memory: Memory) -> None:
    """Print counts, continuations and occurrences of phrases, and documents by n-grams."""
    from rich.text import Text

    from mnemodex.pipelines.commands.rendering import ConcordanceRenderer, SearchRequest, print_chunks

    index = memory.retriever("ngrams")
    assert isinstance(index, NgramIndex)  # noqa: S101 - the recipe says so
    console.print(Text("How often do these phrases occur, and what follows them?", style="bold"))
    following = index.continuations(PHRASES)
    for phrase, count, (start, stop) in zip(
        PHRASES, index.count(PHRASES), pairwise(following.offsets.tolist()), strict=True
    ):
        first = slice(start, min(start + 4, stop))
        words = zip(following.texts[first], following.counts[first], strict=True)
        console.print(Text(f"  {phrase:20}{count:>5}   {', '.join(f'{text} ({times})' for text, times in words)}, …"))
    console.print("")
    ConcordanceRenderer(SearchRequest(memory, "ngrams", PHRASES[:1], 3)).print()
    console.print(Text("Documents by the n-grams of a question, and the n-grams that found them:", style="bold"))
    hits = memory.retriever("keys").search(QUESTIONS[1:2], k=2)
    print_chunks(QUESTIONS[1], hits.chunks()[0], [reasons[:4] for reasons in hits.reasons()[0]])


def _graph(console: Console, memory: Memory, folder: Path) -> None:
    """Print what the graph finds and its evidence, and draw it."""
    from rich.text import Text

    from mnemodex.pipelines.commands.rendering import print_chunks
    from mnemodex.retrievers.graph.picture import write_picture
    from mnemodex.retrievers.graph.retriever import GraphRetriever

    index = memory.retriever("graph")
    assert isinstance(index, GraphRetriever)  # noqa: S101 - the recipe says so
    console.print(Text("A walk over facts, names and passages, and the evidence for each hit:", style="bold"))
    hits = index.search(QUESTIONS[1:2], k=2)
    print_chunks(QUESTIONS[1], hits.chunks()[0], [reasons[:4] for reasons in hits.reasons()[0]])
    drawn = write_picture(index.subgraph(QUESTIONS[1]), folder.parent / f"{folder.name}.html")
    console.print(f"Drawn in {drawn}. What the manual says most about, in SQL:")
    console.print(memory.sql("SELECT name, facts FROM entities ORDER BY facts DESC, name LIMIT 4").fetchall())
    console.print("")


def _first_words(chunk: Chunk) -> str:
    text = " ".join(chunk.text.split())
    return f"{chunk.title}: {text[:200]}{'…' if len(text) > 200 else ''}"
