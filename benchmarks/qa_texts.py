"""Real questions and sentences with their vectors, and any number of copies of these: the data of `qa_scale.py`.

The vectors of at most 20,000 texts are MiniLM's. A copy is a text's vector moved by the difference of two other texts
that are neighbours: it has the directions in which real texts differ, and as many neighbours as near.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnemodex.indexers.graph.names import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Float32s = NDArray[np.float32]

REAL = 20_000
_BATCH = 1 << 16
_QUESTIONS = ("webquestions_memory/memory.jsonl.gz", "nq_qa_pairs/qa_pairs.jsonl.gz", "musique_train100/qa_pairs.jsonl")
_ASKED = ("webquestions_memory/queries.jsonl", "squad_xquad_en/queries.jsonl")
_PASSAGES = ("scifact/corpus.jsonl.gz", "nq_longdocs50/corpus.jsonl.gz", "musique_train100/corpus.jsonl.gz")
_PROSE = "wikitext2/datastore.txt.gz"


def real_vectors(data: Path, cache: Path) -> tuple[Float32s, Float32s]:
    """Return the vectors of texts that are remembered, and of questions that are asked; computed once.

    The first are those of questions of the memory first, then of sentences of a uniform sample: float32 of shape (n,
    384), of length 1.
    """
    if not cache.exists():
        from mnemodex.indexers.encoders.base import open_encoder
        from mnemodex.schemas.sections import Embedding

        asked = asked_questions(data)
        known = dict.fromkeys(_questions(data, _QUESTIONS))
        others = [text for text in dict.fromkeys(_sentences(data)) if text not in known]
        chosen = np.random.default_rng(0).permutation(len(others))[: REAL - len(known)]
        texts = [*known, *(others[number] for number in chosen.tolist())]
        encoder = open_encoder(Embedding())
        np.savez(cache, texts=encoder.encode(texts), asked=encoder.encode(asked), questions=np.array(len(known)))
    with np.load(cache, allow_pickle=False) as arrays:
        return arrays["texts"], arrays["asked"]


def asked_questions(data: Path) -> list[str]:
    """Return the questions that are asked, in their normal form."""
    return list(dict.fromkeys(_questions(data, _ASKED)))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from map(json.loads, file)


def _questions(data: Path, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        for row in _rows(data / name):
            yield row["question"].strip("? ").lower()


def _sentences(data: Path) -> Iterator[str]:
    texts = [row["text"] for name in _PASSAGES for row in _rows(data / name)]
    with gzip.open(data / _PROSE, "rt") as file:
        texts += file
    for text in texts:
        for sentence in sentences(text):
            if 40 <= len(sentence) <= 160:
                yield sentence


def copies(texts: Float32s, rows: int) -> Iterator[Float32s]:
    """Yield vectors of length 1, float32 of shape (n, 384), that are `rows` together: the texts', then copies of them.

    A copy is moved by a random part of the difference.
    """
    import faiss

    index = faiss.IndexFlatIP(texts.shape[1])
    index.add(texts)
    neighbours = index.search(texts, 11)[1][:, 1:]
    yield texts[:rows]
    generator = np.random.default_rng(0)
    for start in range(len(texts), rows, _BATCH):
        count = min(_BATCH, rows - start)
        moved, one, which = (generator.integers(most, size=count) for most in (len(texts), len(texts), 10))
        step = generator.random((count, 1), dtype=np.float32)
        vectors = texts[moved] + step * (texts[neighbours[one, which]] - texts[one])
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
