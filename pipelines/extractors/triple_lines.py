"""Files of triples: which documents their lines are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.streams import BOM, MAX_BYTES, blocks
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_LIST = 1 << 30
"""Bytes of the longest HippoRAG file: it is parsed as a whole."""

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what it says it is about, as hashes of which the first that is known counts."""

    line: int
    name: str
    hashes: tuple[int, ...]
    triples: list[Any]


def entries(path: Path) -> Iterator[Entry | BadRow]:
    """Yield the entries of a file: JSONL of {id, triples}, or HippoRAG's JSON of passages.

    Raises:
        SourceError: the file cannot be read.
    """
    yield from _passages(path) if is_hipporag(path) else _lines(path)


def is_hipporag(path: Path) -> bool:
    """Whether a file is HippoRAG's, by its name."""
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower() == ".json"


def _lines(path: Path) -> Iterator[Entry | BadRow]:
    for number, line in enumerate(_split(path), 1):
        if line and not line.isspace():
            yield _entry(line, path, number)


def _split(path: Path) -> Iterator[bytes]:
    rest = b""
    first = True
    for block in blocks(path):
        *lines, rest = (rest + (block.removeprefix(BOM) if first else block)).split(b"\n")
        first = False
        if len(rest) > MAX_BYTES:
            msg = f"{path}: a line is longer than {MAX_BYTES >> 20} MiB; is the file one JSON object a line?"
            raise SourceError(msg)
        yield from lines
    yield rest


def _entry(line: bytes, path: Path, number: int) -> Entry | BadRow:
    try:
        row = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        return _problem(line, f"is not JSON ({error})", path, number)
    key = row.get("id") if isinstance(row, dict) else None
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not isinstance(row.get("triples"), list):
        return _problem(line, 'is not {"id", "triples"}, a document\'s key and a list', path, number)
    return Entry(number, key, (hash_text(key),), row["triples"])


def _passages(path: Path) -> Iterator[Entry | BadRow]:
    """Yield the entries of HippoRAG's `{"docs": [{"passage", "extracted_triples"}]}`; their line is their number."""
    data = bytearray()
    for block in blocks(path):
        data += block
        if len(data) > _MAX_LIST:
            msg = f"{path}: a JSON document of more than 1 GiB; write it as JSONL, one {{id, triples}} a line"
            raise SourceError(msg)
    try:
        docs = from_json(bytes(data.removeprefix(BOM)), allow_inf_nan=False)["docs"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        msg = f'{path}: is not HippoRAG\'s {{"docs": […]}} ({error!r}); name lines of {{id, triples}} .jsonl'
        raise SourceError(msg) from error
    for number, doc in enumerate(docs if isinstance(docs, list) else [docs], 1):
        triples = doc.get("extracted_triples") if isinstance(doc, dict) else None
        if not isinstance(triples, list) or not isinstance(doc.get("passage"), str):
            yield _problem(str(doc).encode(), 'is not {"passage", "extracted_triples"}', path, number)
            continue
        yield Entry(number, doc["passage"][:80], (passage_hash(doc["passage"]),), triples)


def _problem(data: bytes, reason: str, path: Path, number: int) -> BadRow:
    return BadRow(path.name, number, reason, data[: 4 * _SHOWN].decode("utf-8", "backslashreplace")[:_SHOWN])


def passage_names(title: str, text: str) -> tuple[int, ...]:
    """Return how HippoRAG may know a document: by title, a line end and text, or by text alone. White space is one."""
    return tuple({passage_hash(f"{title}\n{text}"): None, passage_hash(text): None})


def passage_hash(passage: str) -> int:
    """Return the hash of a passage, white space being one."""
    return hash_text(" ".join(passage.split()))
