"""Vectors of real sentences and real questions, for the measurements of dense indexes.

    python benchmarks/sentence_vectors.py FOLDER… --out FOLDER [--most N] [--threads N]

Each folder holds a corpus (`corpus.jsonl[.gz]` with texts) and questions (`queries*.jsonl[.gz]`), either may be absent.
Equal sentences count once, and one of fewer than four words not at all. MiniLM encodes both. `--out` gets `vectors.npy`
and `queries.npy`, float32 of unit length in a random order, and `sentences.txt` and `questions.txt`, a line for each.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sentencex import segment

from mnemodex.indexers.encoders.base import open_encoder
from mnemodex.schemas.sections import Embedding

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST_WORDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int, help="sentences at most")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    sentences = [text for folder in given.folders for text in corpus_sentences(folder)]
    questions = [
        str(row["question"])
        for folder in given.folders
        for path in sorted(folder.glob("queries*.jsonl*"))
        for row in rows(path)
    ]
    encoder = open_encoder(Embedding(), threads=given.threads)
    rng = np.random.default_rng(0)
    for name, texts, encode in (
        ("questions", questions, encoder.encode_queries),
        ("sentences", sentences, encoder.encode),
    ):
        once = sorted(set(texts))
        chosen = [once[place] for place in rng.permutation(len(once))[: given.most]]
        (given.out / f"{name}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
        file = "vectors" if name == "sentences" else "queries"
        np.save(given.out / f"{file}.npy", np.asarray(encode(chosen), np.float32))
        print(f"{len(chosen)} {name}")


def corpus_sentences(folder: Path) -> Iterator[str]:
    """Sentences of a folder's corpus, on one line each."""
    for path in sorted(folder.glob("corpus.jsonl*")):
        for row in rows(path):
            for sentence in segment("en", str(row["text"])):
                text = " ".join(sentence.split())
                if text.count(" ") + 1 >= FEWEST_WORDS:
                    yield text


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSONL file, which may be compressed."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
