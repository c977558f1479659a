"""A snapshot in the files of HippoRAG: a corpus of passages, and the entities and triples extracted from them."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TextIO

from mnemodex.pipelines.exports.rows import need_table, read_rows
from mnemodex.pipelines.exports.target import replacing
from mnemodex.schemas.tables import CHUNKS, MENTIONS, TRIPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.pipelines.exports.rows import Json
    from mnemodex.retrievers.snapshot import Snapshot

_TRIPLE = ("subject", "predicate", "object")


def extractions_path(path: Path) -> Path:
    """Return the path of a corpus's extractions: `NAME.openie.json` in the folder of `NAME.json`."""
    return path.with_name(f"{path.stem}.openie.json")


def write_corpus(snapshot: Snapshot, path: Path) -> dict[str, int]:
    """Write the chunks as a corpus of HippoRAG, and the triples of a memory that has them as its extractions.

    The corpus is `[{title, text, idx}]`. The extractions, at `extractions_path`, are in the form of HippoRAG 2:
    `{docs: [{idx, passage, extracted_entities, extracted_triples}]}`, where `passage` is the title and the text on
    separate lines, and `idx` has the MD5 of the passage.

    Returns:
        How many passages were written, and how many triples where there is a table of these.

    Raises:
        ExportError: a file cannot be written.
        QueryError: the memory has no chunks.
    """
    need_table(snapshot, CHUNKS.label)
    partitions = snapshot.manifest.tables[CHUNKS.label].partitions
    with_triples = TRIPLES.label in snapshot.manifest.tables
    counts = {"passages": 0, **({"triples": 0} if with_triples else {})}
    with ExitStack() as stack:
        corpus = _List(stack, path, "[", "]")
        extractions = _List(stack, extractions_path(path), '{"docs": [', "]}") if with_triples else None
        for part in partitions:
            triples = _triples(snapshot, part.label) if with_triples else {}
            entities = _entities(snapshot, part.label) if with_triples else {}
            for batch in read_rows(snapshot, CHUNKS.label, part.label, columns=("chunk_id", "title", "text")):
                for chunk_id, title, text in zip(*(column.to_pylist() for column in batch), strict=True):
                    corpus.add({"title": title, "text": text, "idx": counts["passages"]})
                    counts["passages"] += 1
                    if extractions is not None:
                        extracted = triples.get(chunk_id, [])
                        counts["triples"] += len(extracted)
                        extractions.add(_extraction(f"{title}\n{text}", entities.get(chunk_id, []), extracted))
    return counts


class _List:
    """A JSON list that is written element by element; the file gets its name when the stack is closed."""

    def __init__(self, stack: ExitStack, path: Path, begin: str, end: str) -> None:
        unfinished = stack.enter_context(replacing(path))
        self._file: TextIO = stack.enter_context(unfinished.open("w", encoding="utf-8"))
        self._file.write(begin)
        self._separator = "\n"
        stack.callback(lambda: self._file.write(f"\n{end}\n"))

    def add(self, value: Json) -> None:
        """Write an element."""
        self._file.write(self._separator + json.dumps(value, ensure_ascii=False))
        self._separator = ",\n"


def _extraction(passage: str, entities: list[str], triples: list[list[str]]) -> Json:
    digest = hashlib.md5(passage.encode(), usedforsecurity=False).hexdigest()
    return {
        "idx": f"chunk-{digest}",
        "passage": passage,
        "extracted_entities": entities,
        "extracted_triples": triples,
    }


def _triples(snapshot: Snapshot, label: str) -> dict[int, list[list[str]]]:
    """Return the triples of the chunks of a partition, by their ids."""
    found: dict[int, list[list[str]]] = {}
    for chunk_id, *triple in _rows(snapshot, TRIPLES.label, label, _TRIPLE):
        found.setdefault(chunk_id, []).append(triple)
    return found


def _entities(snapshot: Snapshot, label: str) -> dict[int, list[str]]:
    """Return the names of entities in the chunks of a partition, by the chunks' ids."""
    found: dict[int, list[str]] = {}
    for chunk_id, name in _rows(snapshot, MENTIONS.label, label, ("name",)):
        found.setdefault(chunk_id, []).append(name)
    return found


def _rows(snapshot: Snapshot, table: str, label: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    for batch in read_rows(snapshot, table, label, columns=("chunk_id", *columns)):
        yield from zip(*(batch[name].to_pylist() for name in ("chunk_id", *columns)), strict=True)
