"""What ten more documents cost a memory, kind by kind, as a share of its whole build.

python benchmarks/growth.py [--rows N] [--kinds NAME …] [--json FILE]

Each memory has one index over N documents of 100 words (of eight, where every token is a row), a hashing encoder, and
for next tokens a tiny model with random weights. It is built, opened by a build that computes nothing, given ten
documents more, and built again, in a process each and without Ray. CPU seconds are the whole process's, less those of
the build that computes nothing. Recall@10 is of an index's own measurement, and for vectors that of 200 new questions
against exact search, before and after.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from report import publish
from scale import HashingEncoder

import mnemodex

KINDS: dict[str, dict[str, Any]] = {
    "flat": {"type": "dense", "factory": "Flat"},
    "hnsw": {"type": "dense", "factory": "HNSW32"},
    "hnswlib": {"type": "dense", "engine": "hnswlib"},
    "ivf": {"type": "dense", "factory": "IVF256,Flat"},
    "auto": {"type": "dense"},
    "ngram": {"type": "ngram"},
    "bm25": {"type": "bm25"},
    "next-flat": {"type": "knn_lm", "factory": "Flat"},
    "next-hnsw": {"type": "knn_lm", "factory": "HNSW32"},
    "next-ivf": {"type": "knn_lm", "factory": "IVF256,SQfp16"},
}
MORE = 10
_VOCABULARY = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        print(json.dumps(build(options.build)))
        return
    with tempfile.TemporaryDirectory() as name:
        results = []
        for kind in options.kinds:
            results.append(measure(Path(name), kind, options.rows))
            print(results[-1], flush=True)
    publish("Ten documents more", results, json_path=options.json)


def measure(folder: Path, kind: str, rows: int) -> dict[str, Any]:
    """Build a memory of one kind, and let it grow."""
    corpus = folder / "corpus.jsonl"
    # For next tokens every token is a row.
    lines = passages(rows + MORE, words=8 if KINDS[kind]["type"] == "knn_lm" else 100)
    corpus.write_text("".join(lines[:rows]), encoding="utf-8")
    memory = folder / kind
    sections: dict[str, Any] = {"embed": {"hashing": {}}} if KINDS[kind]["type"] == "dense" else {}
    if KINDS[kind]["type"] == "knn_lm":
        sections = {"lm": {"tiny": {"model": str(tiny_model(folder / "model")), "window": 64, "overlap": 16}}}
    recipe = {"memory": str(memory), "source": str(corpus), "indexes": {kind: KINDS[kind]}, **sections}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    first = run(folder)
    before = recall(memory, kind)
    nothing = run(folder)
    with corpus.open("a", encoding="utf-8") as file:
        file.writelines(lines[rows:])
    more = run(folder)
    after = recall(memory, kind)
    built, grown = (one["cpu"] - nothing["cpu"] for one in (first, more))
    shards = mnemodex.open(memory).snapshot.manifest.indexes[kind].shards
    return {
        "kind": kind,
        "build, CPU s": round(built, 2),
        "ten more, CPU s": round(grown, 2),
        "share": f"{grown / built:.1%}",
        "nothing, CPU s": round(nothing["cpu"], 2),
        "recall before": before,
        "recall after": after,
        "rows of the shards": " + ".join(str(shard.rows) for shard in shards),
        "computed": more["computed"],
    }


def run(folder: Path) -> dict[str, Any]:
    """Build in a process of its own: its CPU seconds, and what it computed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "computed": done.stdout.splitlines()[-1]}


def build(folder: Path) -> dict[str, int]:
    """Build the recipe of the folder; units that were computed, by step."""
    recipe = json.loads((folder / "recipe.json").read_text())
    encoders = {"hashing": HashingEncoder()} if "embed" in recipe else {}
    result = mnemodex.build(recipe, encoders=encoders, local=True)
    return {step.name: step.computed for step in result.steps if step.computed}


def recall(memory: Path, kind: str) -> str:
    """Recall as the index states it, and for vectors as it is."""
    opened = mnemodex.open(memory, encoders={"hashing": HashingEncoder()})
    stated = opened.snapshot.manifest.indexes[kind].recall
    if stated is None:
        return "exact"
    if KINDS[kind]["type"] != "dense":
        return f"{stated.recall:.3f}"
    retriever: Any = opened.retriever(kind)
    questions = queries()
    found = retriever.search_vectors(questions, 10).ids
    rows = [(path, np.load(path)) for path in opened.snapshot.paths("embeddings/hashing", ".npy")]
    ids = np.concatenate([np.array(column) for column in _ids(opened)])
    scores = questions @ np.concatenate([matrix for _, matrix in rows]).T
    exact = ids[np.argsort(-scores, axis=1, kind="stable")[:, :10]]
    true = np.mean([np.isin(one, other).mean() for one, other in zip(exact, found, strict=True)])
    return f"{stated.recall:.3f}, truly {true:.3f}"


def _ids(opened: Any) -> list[Any]:
    query = "SELECT chunk_id FROM embeddings_hashing"
    return [opened.sql(query).to_arrow_table()["chunk_id"].to_numpy()]


def passages(rows: int, *, words: int) -> list[str]:
    """JSON lines with words by Zipf's law."""
    drawn = (np.random.default_rng(7).zipf(1.3, (rows, words)) - 1) % _VOCABULARY
    texts = (" ".join(f"w{word:x}" for word in row) for row in drawn.tolist())
    return [json.dumps({"id": str(n), "title": f"t{n:x}", "text": text}) + "\n" for n, text in enumerate(texts)]


def queries() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors of texts that are in no memory."""
    words = (np.random.default_rng(99).zipf(1.3, (200, 100)) - 1) % _VOCABULARY
    return HashingEncoder().encode([" ".join(f"w{word:x}" for word in row) for row in words.tolist()])


def tiny_model(folder: Path) -> Path:
    """A llama of 32 numbers a state, with the tokenizer of the default encoder."""
    if not folder.exists():
        import torch
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        from mnemodex.indexers.models.locate import locate
        from mnemodex.schemas.sections import DEFAULT_MODEL

        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(locate(DEFAULT_MODEL))
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
