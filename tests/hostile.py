"""A memory whose every text tries to be more than text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from small_memory import build_inline

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = (
    "<script>window.ran = 1</script>",
    '<img src=x onerror="window.ran = 2">',
    "]]></title></svg><script>window.ran = 3</script>",
    "\"quoted\" & 'single' onload=window.ran=4",
    "javascript:window.ran=5",
    "\u202eturned around\u2066 and on",
    "שלום עולם (abc) 123",
    "\x1b[31mred\x07",
    "x" * 300,
    "👩\u200d👩\u200d👧 family",
    "{{constructor.constructor('window.ran=6')()}}",
    "<style>*{display:none}</style>",
)
INDEXES = {
    "words": {"type": "bm25"},
    "flat": {"type": "dense", "factory": "Flat"},
    "lists": {"type": "dense", "factory": "IVF4,Flat"},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
    "ngrams": {"type": "ngram"},
    "walk": {"type": "graph"},
    "asked": {"type": "qa"},
}


def build_hostile(folder: Path) -> Path:
    """A memory in which keys, titles, texts, metadata, facts and pairs are hostile."""
    (folder / "source").mkdir(parents=True)
    sentence = "The river flows through the old city {} under seven bridges. A keeper of the lighthouse wrote letters. "
    rows = [
        {
            "id": f"{n} {text[:60]}",
            "title": text,
            "text": sentence.format(text) * (6 if n % 4 == 0 else 1),
            "note": text,
        }
        for n, text in enumerate(TEXTS)
    ]
    facts = [[[r["title"], "flows <b>through</b>", "the old city"], ["river", r["title"], "bridges"]] for r in rows]
    write(folder / "source" / "a.jsonl", rows)
    triples = [{"id": r["id"], "entities": [], "triples": own} for r, own in zip(rows, facts, strict=True)]
    write(folder / "triples.jsonl", triples)
    pairs = [{"question": f"What is near {r['title']}?", "answer": r["title"], "passage_id": r["id"]} for r in rows]
    write(folder / "pairs.jsonl", pairs)
    files = {"triples": {"from": str(folder / "triples.jsonl")}, "qa_pairs": {"from": str(folder / "pairs.jsonl")}}
    build_inline(folder / "source", folder / "memory", INDEXES, **files)
    return folder / "memory"


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
