"""Measure the n-gram index on real text, against pydivsufsort and the `fm-index` package.

    python benchmarks/ngram_index.py [--tokens 16000000] [--cache DIR] [--json FILE]

Building, size, queries, growth and shards. The text is the standard library's sources and the docstrings and
documentation of installed packages, in MiniLM's WordPieces. All times are CPU times of one thread; what is compared is
measured in the same run, and the smallest of a few repetitions counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# libdivsufsort is built with OpenMP; one thread is what a worker gets.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.indexers.ngram import FMIndex, Ragged, Vocabulary, build
from mnemodex.indexers.ngram.build import BuildOptions
from mnemodex.schemas.sections import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

PIECE = 2000
PEER = """
import json, sys, time
from pathlib import Path
from fm_index import FMIndex
text, patterns = json.loads(Path(sys.argv[1]).read_text()), json.loads(Path(sys.argv[2]).read_text())
index = FMIndex(text)
best = 1e9
for _ in range(5):
    start = time.process_time()
    for pattern in patterns:
        index.count(pattern)
    best = min(best, time.process_time() - start)
print(best / len(patterns) * 1e6)
"""


def texts() -> Iterator[str]:
    """The documents, some of them twice: sources, docstrings and documentation files, in pieces."""
    library = Path(sysconfig.get_path("stdlib"))
    for root in (library, Path(sysconfig.get_path("purelib")), library / "site-packages"):
        for path in sorted(root.rglob("*")):
            if path.suffix not in {".py", ".rst", ".md", ".txt"} or (root == library and "site-packages" in path.parts):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            docstrings = path.suffix == ".py" and root != library
            for part in re.findall(r'"""(.+?)"""', text, re.DOTALL) if docstrings else [text]:
                yield from (part[start : start + PIECE] for start in range(0, len(part), PIECE))


def corpus(cache: Path, wanted: int, tokenizer: Tokenizer) -> tuple[Ragged, str, int]:
    """About `wanted` token ids in documents, as many characters of their text, and the size of the vocabulary."""
    files = [cache / f"corpus-{wanted}-{name}" for name in ("tokens.npy", "offsets.npy", "text.txt")]
    if not all(file.exists() for file in files):
        documents = list(dict.fromkeys(texts()))
        # A fixed order, so that a prefix is a sample of all kinds of text.
        np.random.default_rng(0).shuffle(documents)
        rows: list[NDArray[np.int32]] = []
        total = 0
        for start in range(0, len(documents), 1000):
            for encoding in tokenizer.encode_batch(documents[start : start + 1000], add_special_tokens=False):
                rows.append(np.array(encoding.ids, dtype=np.int32))
                total += len(rows[-1])
            if total >= wanted:
                break
        joined = Ragged.of(rows)
        np.save(files[0], joined.values)
        np.save(files[1], joined.offsets)
        files[2].write_text("\n".join(documents)[:total], encoding="utf-8")
    return (
        Ragged(np.load(files[0]), np.load(files[1])),
        files[2].read_text(encoding="utf-8"),
        tokenizer.get_vocab_size(),
    )


def prefix(documents: Ragged, tokens: int) -> Ragged:
    """The first documents, of about so many tokens."""
    return documents.part(0, int(np.searchsorted(documents.offsets, tokens, side="right")) - 1)


def seconds(action: Callable[[], Any], repetitions: int) -> float:
    """The least CPU time of an action."""
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best


class AnonymousMemory:
    """The most bytes of the process's own beyond what it had at first; files that are mapped do not count."""

    def __enter__(self) -> AnonymousMemory:
        self._first, self.peak = self._now(), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self._now() - self._first)

    @staticmethod
    def _now() -> int:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) * 1024


def make(documents: Ragged, vocabulary: Vocabulary, folder: Path, **options: Any) -> FMIndex:
    """Build an index in an empty folder and open it."""
    shutil.rmtree(folder, ignore_errors=True)
    batches = ({"body": documents.part(start, start + 1000)} for start in range(0, len(documents), 1000))
    shards = build(batches, folder, vocabulary, options=BuildOptions(**options))
    return FMIndex([folder / f"{number:05d}" / "body" for number in range(len(shards))])


def spans_of(documents: Ragged, length: int, count: int) -> NDArray[np.int32]:
    """Random n-grams of the corpus, as frequent as they are in it: shape (count, length)."""
    random = np.random.default_rng(length)
    starts = random.integers(0, len(documents.values) - length, size=3 * count)
    inside = np.searchsorted(documents.offsets, starts, side="right") == np.searchsorted(
        documents.offsets, starts + length - 1, side="right"
    )
    return documents.values[starts[inside][:count, None] + np.arange(length)]


def queries(index: FMIndex, documents: Ragged) -> dict[str, float]:
    """Microseconds a query, a prefix, or a row."""
    grams = {length: spans_of(documents, length, 20_000) for length in (1, 3, 5, 10)}
    result = {f"range_{n}_tokens_us": seconds(partial(index.ranges, some), 5) / 0.02 for n, some in grams.items()}
    for length, count in ((1, 500), (2, 2_000)):
        ranges = index.ranges(spans_of(documents, length, count))
        result[f"continuations_{length}_tokens_us"] = seconds(partial(index.continuations, ranges), 3) / count * 1e6
        result[f"continuations_{length}_tokens"] = len(index.continuations(ranges).tokens) / count
    # What is located is what a search would list: n-grams that are not everywhere.
    rare = grams[5][index.count(grams[5]) <= 100][:2_000]
    rows = int(index.count(rare).sum())
    result["locate_us_per_row"] = seconds(partial(index.locate, rare), 3) / rows * 1e6
    often = grams[3][:1_000]
    result["documents_us_per_row"] = seconds(partial(index.documents, often), 2) / int(index.count(often).sum()) * 1e6
    result["one_call_us"] = seconds(lambda: [index.ranges(rare[:1]) for _ in range(1000)], 3) * 1e3
    return result


def size(index: FMIndex, folder: Path, documents: Ragged) -> dict[str, float]:
    """Bytes a token, and how near the wavelet tree comes to the entropy."""
    files = {path.name: path.stat().st_size for path in sorted(folder.rglob("*.npy"))}
    counts = np.append(np.bincount(documents.values), len(documents))
    rows = counts.sum()
    entropy = float(-(counts[counts > 0] / rows * np.log2(counts[counts > 0] / rows)).sum())
    levels = np.load(folder / "00000/body/levels.npy")
    return {
        "entropy_bits": entropy,
        "tree_bits_over_entropy": float(levels[:, 1].sum()) / rows / entropy,
        "tree_with_ranks_over_entropy": files["bits.npy"] * 8 / rows / entropy,
        "bytes_per_token_without_documents": (sum(files.values()) - files["documents.npy"]) / index.token_count,
        "bytes_per_token": sum(files.values()) / index.token_count,
    }


def building(documents: Ragged, vocabulary: Vocabulary, folder: Path) -> dict[str, float]:
    """CPU time and memory of building, against the suffix array alone of the same stream."""
    from pydivsufsort import divsufsort

    make(prefix(documents, 20_000), vocabulary, folder)
    stream = np.insert(documents.values, documents.offsets[:-1], len(vocabulary))[::-1].copy()
    ours, alone, peak = [], [], 0
    for _ in range(3):
        # The first build counts: later ones find memory that the process has not given back.
        with AnonymousMemory() as memory:
            ours.append(seconds(lambda: make(documents, vocabulary, folder), 1))
        peak = max(peak, memory.peak)
        alone.append(seconds(lambda: divsufsort(stream), 1))
    tokens = len(documents.values)
    return {
        "build_us_per_token": min(ours) / tokens * 1e6,
        "suffix_array_us_per_token": min(alone) / tokens * 1e6,
        "build_over_suffix_array": min(ours) / min(alone),
        "build_peak_bytes_per_token": peak / tokens,
    }


def peer(cache: Path, text: str) -> float:
    """Microseconds to count 5 characters with the `fm-index` package, from an environment of its own."""
    home = cache / "fm-index-venv"
    python = home / "bin/python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "fm-index"], check=True)
    starts = np.random.default_rng(5).integers(0, len(text) - 5, size=20_000)
    (cache / "peer-text.json").write_text(json.dumps(text), encoding="utf-8")
    (cache / "peer-patterns.json").write_text(
        json.dumps([text[start : start + 5] for start in starts]), encoding="utf-8"
    )
    command = [python, "-c", PEER, cache / "peer-text.json", cache / "peer-patterns.json"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tokens", type=int, default=16_000_000, help="tokens of the largest index")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "mnemodex-ngram-benchmark")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    documents, text, tokens = corpus(options.cache, options.tokens, tokenizer(DEFAULT_MODEL))
    vocabulary, folder = Vocabulary(range(tokens)), options.cache / "index"
    figures: dict[str, Any] = {"tokens": len(documents.values), "documents": len(documents)}
    figures["build"] = building(documents, vocabulary, folder)
    index = make(documents, vocabulary, folder)
    figures["size"] = size(index, folder, documents)
    # The same tokens as the peer can take them: one character each, from a part of Unicode without surrogates.
    characters = (documents.values + 0x4E00).astype("<u4").tobytes().decode("utf-32-le")
    before = peer(options.cache, text), peer(options.cache, characters)
    figures["query"] = queries(index, documents)
    unit, tokens_unit = (min(one, peer(options.cache, of)) for one, of in zip(before, (text, characters), strict=True))
    figures["peer"] = {"count_5_characters_us": unit, "count_5_tokens_us": tokens_unit}
    figures["ratios"] = {
        "build_over_suffix_array (1.6)": figures["build"]["build_over_suffix_array"],
        "range_5_tokens_over_peer (0.3)": figures["query"]["range_5_tokens_us"] / unit,
        "range_5_tokens_over_peer_on_tokens": figures["query"]["range_5_tokens_us"] / tokens_unit,
        "continuations_2_tokens_over_peer (11)": figures["query"]["continuations_2_tokens_us"] / unit,
    }
    figures["growth"] = {}
    for part in (options.tokens // 16, options.tokens // 4, options.tokens):
        some = prefix(documents, part)
        built = seconds(partial(make, some, vocabulary, folder), 1) / len(some.values) * 1e6
        index = FMIndex([folder / "00000/body"])
        figures["growth"][part] = {"build_us_per_token": built, **size(index, folder, some), **queries(index, some)}
    figures["shards"] = {}
    for shards in (1, 2, 4, 8, 16):
        rows = (len(documents.values) + len(documents)) // shards + PIECE
        index = make(documents, vocabulary, folder, shard_rows=rows)
        figures["shards"][len(index.shards)] = queries(index, documents)
    report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    json.dump(figures, sys.stdout)
    print()


def report(figures: dict[str, Any]) -> None:
    """Print a line a figure, and a column a size."""
    for name, values in figures.items():
        if not isinstance(values, dict):
            print(f"{name:45}{values:>14,}")
        elif all(isinstance(value, dict) for value in values.values()):
            print(f"\n{name:45}" + "".join(f"{key:>14,}" for key in values))
            for row in next(iter(values.values())):
                print(f"  {row:43}" + "".join(f"{column[row]:14.3f}" for column in values.values()))
        else:
            print(f"\n{name}")
            for key, value in values.items():
                print(f"  {key:43}{value:14.3f}")


if __name__ == "__main__":
    main()
