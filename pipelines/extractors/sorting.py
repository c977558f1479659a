"""One pass over a file of triples, which sorts its lines by the partitions of the documents that they are about."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import from_json

from mnemodex.pipelines.extractors.base import Problem
from mnemodex.pipelines.plan import file_state
from mnemodex.pipelines.sources.streams import BOM, COMPRESSIONS, MAX_BYTES, blocks
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from mnemodex.schemas.manifest import Artifact
    from mnemodex.schemas.store.store import Store
    from mnemodex.schemas.triples import TripleFile

_VERSION = 1
_MAX_LIST = 1 << 30
"""Bytes of the longest HippoRAG file: it is parsed as a whole."""

_BUFFER = 64 << 20
"""Bytes of lines that wait in memory until they are appended to their partitions' files."""

_SHOWN = 200


@dataclass
class Contents:
    """What a file of triples holds for some documents.

    Attributes:
        digests: SHA-256 of the lines of each partition that has any.
        lines: lines, or passages, in all.
        unknown: those that are about no document.
        example: the first of these.
        bad: those that cannot be read; not more than the recipe accepts.
    """

    digests: dict[str, str] = field(default_factory=dict)
    lines: int = 0
    unknown: int = 0
    example: str = ""
    bad: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line: what it says it is about, as hashes of which the first that is known counts."""

    line: int
    name: str
    hashes: tuple[int, ...]
    triples: list[Any]


class TripleSorter:
    """Sorts a file's lines by documents partition.

    What a partition's lines are is remembered below `work/` while the file and the documents stay as they are; the
    lines themselves are written there again by the build that needs them. Memory: about 40 bytes a document, the lines
    that wait (64 MiB) and, of HippoRAG's format, the whole file (at most 1 GiB). The disk holds the lines once more
    until the build ends.

    Args:
        store: the memory that is built.
        spec: the recipe's section.
        documents: partitions of the documents.
    """

    def __init__(self, store: Store, spec: TripleFile, documents: Iterable[Artifact]) -> None:
        self._store, self._spec, self._path = store, spec, Path(spec.path)
        self._documents = list(documents)
        self._folder: Path | None = None

    def contents(self) -> Contents:
        """What the file holds; reads it if that is not remembered.

        Raises:
            SourceError: the file cannot be read, or has more bad lines than the recipe accepts.
        """
        prints = [part.fingerprint for part in self._documents]
        state = fingerprint(_VERSION, file_state(self._path), prints, self._spec.max_errors)
        memo = f"work/triples-{state}.json"
        known = read_contents(self._store.files.read(memo)) if self._store.files.exists(memo) else None
        if known is not None:
            return known
        contents = self._sort()
        for name in self._store.files.names("work"):
            if name.startswith("triples-"):
                self._store.files.remove(f"work/{name}")
        self._store.files.write(memo, _memo(contents))
        return contents

    def given(self, label: str) -> str | None:
        """The file below the memory that holds a partition's lines, or None where it has none."""
        if self._folder is None:
            self._sort()
        assert self._folder is not None  # noqa: S101 - it has just been made
        path = self._folder / f"{label}.jsonl"
        return path.relative_to(self._store.root).as_posix() if path.exists() else None

    def _sort(self) -> Contents:
        self._folder = self._store.files.attempt()
        whole = _is_hipporag(self._path)
        directory = _Directory.of(self._store, self._documents, by_text=whole)
        contents = Contents()
        writer = _Writer(self._folder)
        for entry in _passages(self._path) if whole else _lines(self._path):
            contents.lines += 1
            if isinstance(entry, Problem):
                contents.bad.append(entry)
                self._check(contents.bad)
                continue
            found = next((rows for value in entry.hashes if (rows := directory.find(value))), [])
            if not found:
                contents.example = contents.example or entry.name
                contents.unknown += 1
            for partition, doc_id in found:
                writer.add(self._documents[partition].label, [doc_id, entry.line, entry.triples])
        contents.digests = writer.finish()
        return contents

    def _check(self, bad: list[Problem]) -> None:
        limit = self._spec.max_errors
        if len(bad) > limit:
            first = bad[0]
            msg = (
                f"{self._path}: more than `triples.max_errors: {limit}` lines cannot be read: line {first.line} "
                f"{first.reason}"
            )
            raise SourceError(msg)


@dataclass(frozen=True)
class _Directory:
    """Documents by a hash, ascending: where they are."""

    hashes: NDArray[np.int64]
    partitions: NDArray[np.int32]
    doc_ids: NDArray[np.int64]

    @classmethod
    def of(cls, store: Store, documents: list[Artifact], *, by_text: bool) -> _Directory:
        """By key; or by title and text, and by the text alone."""
        hashes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        partitions: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
        ids: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        columns = ["doc_id", "title", "text"] if by_text else ["doc_id", "key"]
        for number, part in enumerate(documents):
            for batch in parquet.read_batches(store.files.check(part.file(".parquet")), columns=columns, rows=512):
                doc_ids, *rest = (batch[name].to_pylist() for name in columns)
                names = [_passage_names(*row) if by_text else (hash_text(*row),) for row in zip(*rest, strict=True)]
                hashes.append(np.array([value for row in names for value in row], np.int64))
                ids.append(np.repeat(np.array(doc_ids, np.int64), [len(row) for row in names]))
                partitions.append(np.full(len(ids[-1]), number, np.int32))
        flat = np.concatenate(hashes)
        order = np.argsort(flat, kind="stable")
        return cls(flat[order], np.concatenate(partitions)[order], np.concatenate(ids)[order])

    def find(self, value: int) -> list[tuple[int, int]]:
        """Partition and id of the documents with a hash."""
        begin, end = np.searchsorted(self.hashes, value, "left"), np.searchsorted(self.hashes, value, "right")
        return list(zip(self.partitions[begin:end].tolist(), self.doc_ids[begin:end].tolist(), strict=True))


def _passage_names(title: str, text: str) -> tuple[int, ...]:
    """How HippoRAG may know a document: `title`, a line end and `text`, or its text alone. White space is one."""
    return tuple({_passage_hash(f"{title}\n{text}"): None, _passage_hash(text): None})


def _passage_hash(passage: str) -> int:
    return hash_text(" ".join(passage.split()))


class _Writer:
    """Appends lines to the files of partitions, some megabytes at a time, so that few files are open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, list[bytes]] = {}
        self._bytes = 0
        self._digests: dict[str, Any] = {}

    def add(self, label: str, line: list[Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self._waiting.setdefault(label, []).append(data)
        self._digests.setdefault(label, hashlib.sha256()).update(data)
        self._bytes += len(data)
        if self._bytes > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        for label, lines in self._waiting.items():
            with (self._folder / f"{label}.jsonl").open("ab") as file:
                file.writelines(lines)
        self._waiting, self._bytes = {}, 0

    def finish(self) -> dict[str, str]:
        self._flush()
        return {label: digest.hexdigest() for label, digest in self._digests.items()}


def _is_hipporag(path: Path) -> bool:
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower() == ".json"


def _lines(path: Path) -> Iterator[_Entry | Problem]:
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


def _entry(line: bytes, path: Path, number: int) -> _Entry | Problem:
    try:
        row = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        return _problem(line, f"is not JSON ({error})", path, number)
    key = row.get("id") if isinstance(row, dict) else None
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not isinstance(row.get("triples"), list):
        return _problem(line, 'is not {"id", "triples"}, a document\'s key and a list', path, number)
    return _Entry(number, key, (hash_text(key),), row["triples"])


def _passages(path: Path) -> Iterator[_Entry | Problem]:
    """The entries of HippoRAG's `{"docs": [{"passage", "extracted_triples"}]}`; their line is their place there."""
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
        yield _Entry(number, doc["passage"][:80], (_passage_hash(doc["passage"]),), triples)


def _problem(data: bytes, reason: str, path: Path, number: int) -> Problem:
    return Problem(reason, data[: 4 * _SHOWN].decode("utf-8", "backslashreplace")[:_SHOWN], path.name, number)


def _memo(contents: Contents) -> bytes:
    body = asdict(contents)
    return json.dumps({"contents": body, "fingerprint": fingerprint(body)}).encode()


def read_contents(data: bytes) -> Contents | None:
    """The contents that are remembered, or None where the memo is damaged."""
    try:
        body = json.loads(data)["contents"]
        contents = Contents(**{**body, "bad": [Problem(**bad) for bad in body["bad"]]})
        return contents if _memo(contents) == data else None
    except (ValueError, KeyError, TypeError):
        return None
