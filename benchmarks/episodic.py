"""Episodic memory: a book's events (EpBench), the order of segments (SORT), and histories that grow.

python benchmarks/episodic.py FOLDER... [--json FILE]

Each folder is a data set in the normal form; which evaluation it is for shows in its files.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import episodic_book
import episodic_histories
import episodic_order
from report import publish

if TYPE_CHECKING:
    from collections.abc import Callable

    Measure = Callable[[Path, Path], list[dict[str, Any]]]

_KINDS: dict[str, tuple[str, Measure]] = {
    "sort_trials.jsonl.gz": ("Sequence order recall", episodic_order.measure),
    "events.jsonl.gz": ("EpBench", episodic_book.measure),
    "queries.jsonl.gz": ("Growing histories", episodic_histories.measure),
}
"""The evaluation for a folder with a file, the first of these that it has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for folder in options.folders:
        title, measure = next(kind for name, kind in _KINDS.items() if (folder / name).exists())
        with tempfile.TemporaryDirectory() as work:
            part = measure(folder, Path(work))
        publish(f"{title}: {folder.name}", part, json_path=None)
        rows += [{"evaluation": title, "data": folder.name, **row} for row in part]
    if options.json is not None:
        publish("Episodic memory", rows, json_path=options.json)


if __name__ == "__main__":
    main()
