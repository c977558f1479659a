"""What every benchmark prints: the machine, a table, and with --json the same as a file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def machine() -> dict[str, Any]:
    """The machine that a figure was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}


def publish(title: str, rows: list[dict[str, Any]], *, json_path: Path | None) -> None:
    """Print rows as a Markdown table, and write them with the machine as JSON."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"\n{title}  ({machine()})\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column)) for column in columns) + " |")
    if json_path is not None:
        json_path.write_text(json.dumps({"title": title, "machine": machine(), "rows": rows}, indent=1) + "\n")


def pair_parser(description: str) -> argparse.ArgumentParser:
    """The options of every measurement of question-answer pairs."""
    parser = argparse.ArgumentParser(description=description.split("\n", 1)[0])
    parser.add_argument("--pairs", type=Path, required=True, help="question-answer pairs")
    parser.add_argument("--queries", type=Path, required=True, help="questions with answers, a JSONL file")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser


def publish_pairs(
    title: str, given: argparse.Namespace, measure: Callable[[argparse.Namespace, Path], list[dict[str, Any]]]
) -> None:
    """Publish what is measured of pairs with an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(given, Path(folder))
    publish(f"{title} {given.pairs}", rows, json_path=given.json)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
    return "" if value is None else str(value)
