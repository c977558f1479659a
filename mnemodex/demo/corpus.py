"""The demo's corpus: the Python language reference and the docstrings of the standard library."""

from __future__ import annotations

import ast
import json
import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_TOKENS = 128
_CHUNKS = 1500
_SHORTEST = 80
"""Characters of a docstring below which it says little more than the function's name."""


def write_corpus(folder: Path, *, full: bool) -> Path:
    """Write the language reference and the library's docstrings as JSONL, and return the folder.

    A part that gives about `_CHUNKS` chunks, unless `full`; in two files, so that two CPUs have something to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    budget = _CHUNKS * CHUNK_TOKENS * 3  # characters: a token of such text has about three, and chunks overlap
    lines = []
    for key, title, text in (*_topics(), *_docstrings()):
        budget -= len(text)
        if budget < 0 and not full:
            break
        lines.append(json.dumps({"id": key, "title": title, "text": text}, ensure_ascii=False) + "\n")
    for number in range(2):
        (folder / f"manual-{number}.jsonl").write_text("".join(lines[number::2]), encoding="utf-8")
    return folder


def _topics() -> Iterator[tuple[str, str, str]]:
    """Yield key, title and text of each topic of `help()`."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        heading = re.match(r"\s*(\S[^\n]*)\n[*=\-~\"]{3,}\n", text)
        yield f"topic:{name}", heading[1].replace('"', "") if heading else name, text


def _docstrings() -> Iterator[tuple[str, str, str]]:
    """Yield docstrings of the standard library's public names, read from source, never imported."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.glob("*.py")):
        if file.stem.startswith("_"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
        seen = set()
        for name, text in _documented(tree, file.stem):
            if len(text) >= _SHORTEST and name not in seen:
                seen.add(name)
                yield f"doc:{name}", name, text


def _documented(node: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, str]]:
    yield name, ast.get_docstring(node) or ""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _documented(child, f"{name}.{child.name}")
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield f"{name}.{child.name}", ast.get_docstring(child) or ""
