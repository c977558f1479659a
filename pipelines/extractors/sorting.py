"""One pass over a file of triples, which sorts its lines by the partitions of their documents."""

from __future__ import annotations

from array import array
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic_core import from_json, to_json
from typing_extensions import override

from mnemodex.indexers.arrays import are_among
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.former_lines import FormerLines, Place
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.reading import BOM, codec_of, read_json, read_lines
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.sections import TripleFile
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_BUFFER = 64 << 20
"""Bytes of lines that wait in memory until they are appended to their partitions' files."""


class SortStats(Stats):
    """Rows of a file, those that name an unknown document, and which is the first of these."""

    lines: int = 0
    unknown: int = 0
    example: str = ""


class SortTriples(Op):
    """Writes the lines of a file into one file a partition of documents, `LABEL.jsonl`.

    Where the current snapshot was made of the same file, its lines are taken over, and of the file those about new
    documents are read; of one that is compressed, or HippoRAG's, all are.

    Memory: 56 bytes a document, 24 of which stay, 32 a line, and the lines that wait (64 MiB). Of HippoRAG's format, up
    to twice the bytes a document, and the whole file (at most 1 GiB).
    """

    Settings = TripleFile
    settings: TripleFile

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        path = Path(self.settings.path)
        partitions = {artifact.label: artifact.fingerprint for artifact in inputs.artifacts(0)}
        # Only in a plain file of lines is a line found by its place.
        in_place = codec_of(path) is None and not _is_hipporag(path)
        former = FormerLines.of(inputs) if in_place else None
        kept = former.kept(partitions) if former is not None else set[str]()
        new = [part for part in inputs.partitions(0) if part.label not in kept]
        directory = Directory(new, by_text=_is_hipporag(path))
        if former is None:
            entries, bad = self._sort(read_entries(path), new, directory, output.folder)
        else:
            former.copy(kept, output.folder)
            lines = (
                (place, _parse_line(line, path, place.line)) for place, line in former.read(path, directory.hashes)
            )
            entries = former.entries
            _, bad = self._sort(lines, new, directory, output.folder, count=entries.shape[1])
        numbers = {label: number for number, label in enumerate(partitions)}
        documents = directory.documents([numbers[part.label] for part in new])
        if former is not None:
            documents = np.concatenate([former.documents(kept, numbers), documents], axis=1)
        if in_place:
            FormerLines(output.folder, partitions, entries, documents).save()
        unknown = entries[3, (entries[0] >= 0) & ~are_among(entries[0], np.sort(documents[0]))]
        (output.folder / "lines.txt").write_text(str(entries.shape[1]))
        output.rows = entries.shape[1]
        output.errors(bad, of="triples")
        # Not the document's name: it may have been purged, whose key is not to be kept.
        example = f"line {unknown[0]}" if len(unknown) else ""
        return SortStats(lines=entries.shape[1], unknown=len(unknown), example=example, errors=len(bad))

    def _sort(
        self,
        entries: Iterator[tuple[Place, Entry | BadRow]],
        documents: Sequence[InputPartition],
        directory: Directory,
        folder: Path,
        count: int = 0,
    ) -> tuple[Int64s, list[BadRow]]:
        """Write the entries of documents; return hash and place of each entry, of shape (4, entries), and bad ones.

        The count is of all entries of the file, where only some are given.
        """
        sorted_lines = SortedLines(folder)
        bad: list[BadRow] = []
        found = array("q")
        for place, entry in entries:
            found.extend((-1 if isinstance(entry, BadRow) else entry.hash, *place))
            if isinstance(entry, BadRow):
                bad.append(entry)
                first = f": {bad[0].source} line {bad[0].line}: {bad[0].reason}"
                _check_errors(self.settings, len(bad), max(count, len(found) // 4), first, complete=False)
                continue
            for partition, doc_id in directory.find(entry.hash):
                sorted_lines.add(documents[partition].label, [doc_id, entry.line, entry.triples])
        sorted_lines.flush()
        return np.array(found, np.int64).reshape(-1, 4).T, bad

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        # A former build may have sorted the file and accepted more bad lines.
        stats = finished.parts[0].stats.of(SortStats)
        _check_errors(finished.step.settings, stats.errors, stats.lines, finished.first_error())

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = finished.parts[0].stats.of(SortStats)
        settings: Any = finished.step.settings
        if stats.lines and stats.errors + stats.unknown == stats.lines:
            about = f"{stats.unknown} entries are about no document (the first: {stats.example})"
            reason = f": {about}; their ids are the documents' keys" if stats.unknown else finished.first_error()
            raise SourceError(f"{settings.path}: none of its {stats.lines} lines is of use{reason}")
        warnings = []
        if stats.errors:
            warnings.append(f"triples: {stats.errors} failures{finished.first_error()}; the table errors has them all")
        if stats.unknown:
            warnings.append(
                f"triples: {stats.unknown} of {stats.lines} entries of {settings.path} are about no document (the "
                f"first: {stats.example}); their ids are the documents' keys"
            )
        return warnings


def _check_errors(settings: Any, errors: int, lines: int, first_error: str, *, complete: bool = True) -> None:
    if exceeds(limit := settings.max_errors, errors, lines, complete=complete):
        raise SourceError(f"{settings.path}: more than `triples.max_errors: {limit}` lines cannot be read{first_error}")


class Directory:
    """Documents by the hash of their key; or of title and text, and of the text alone.

    `last` says of documents, given by their ids, which come after all others of the same hash; by default none.
    """

    def __init__(
        self, documents: Sequence[InputPartition], *, by_text: bool, last: Callable[[Int64s], Bools] | None = None
    ) -> None:
        columns = ["doc_id", "title", "text"] if by_text else ["doc_id", "key"]
        parts = [np.zeros((3, 0), np.int64)]
        for number, part in enumerate(documents):
            for batch in parquet.read_batches(part.files["parquet"], columns=columns, rows=512):
                rows = [
                    (value, number, doc_id)
                    for doc_id, *names in zip(*(column.to_pylist() for column in batch), strict=True)
                    for value in ({_hash_passage(*names), _hash_passage(names[-1])} if by_text else {hash_text(*names)})
                ]
                parts.append(np.array(rows, np.int64).reshape(-1, 3).T)
        # Rows: hash, ascending; number of the partition; id of the document.
        self._rows = np.concatenate(parts, axis=1)
        parts.clear()
        if last is not None:
            self._rows = np.take(self._rows, np.argsort(last(self._rows[2]), kind="stable"), axis=1)
        self._rows = np.take(self._rows, np.argsort(self._rows[0], kind="stable"), axis=1)

    @property
    def hashes(self) -> Int64s:
        """The hashes, ascending."""
        hashes: Int64s = self._rows[0]
        return hashes

    def documents(self, numbers: Sequence[int]) -> Int64s:
        """Return hash and partition of each document, of shape (2, documents), given other numbers of partitions."""
        return np.stack([self._rows[0], np.array(numbers, np.int64)[self._rows[1]]])

    def find(self, value: int) -> list[tuple[int, int]]:
        """Return the partitions and ids of the documents with a hash."""
        begin, end = (np.searchsorted(self._rows[0], value, side) for side in ("left", "right"))
        return list(zip(*self._rows[1:, begin:end].tolist(), strict=True))

    def first(self, values: Int64s) -> tuple[Int64s, Int64s]:
        """Return the partition and the id of the first document with each hash, both -1 where there is none."""
        hashes, *columns = self._rows
        place = np.searchsorted(hashes, values)
        known = np.append(hashes, -1)[place] == values
        partition, doc_id = (np.where(known, np.append(column, -1)[place], -1) for column in columns)
        return partition, doc_id


class SortedLines:
    """Rows as lines of JSON that are appended to the files of their partitions, `LABEL.jsonl`; up to 64 MiB wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting = defaultdict[str, list[bytes]](list)
        self._bytes = 0

    def add(self, label: str, row: list[Any]) -> None:
        """Add a row to the file of a partition."""
        line = to_json(row) + b"\n"
        self._waiting[label].append(line)
        self._bytes += len(line)
        if self._bytes > _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait, to one file after the other, so that few are open."""
        for label, lines in self._waiting.items():
            with (self._folder / f"{label}.jsonl").open("ab") as file:
                file.writelines(lines)
        self._waiting.clear()
        self._bytes = 0


class Entry(NamedTuple):
    """The triples of one document: a line, or a HippoRAG passage, with the name of the document and its hash."""

    line: int
    name: str
    hash: int
    triples: list[Any]


def read_entries(path: Path) -> Iterator[tuple[Place, Entry | BadRow]]:
    """Yield the entries of a file with their places: JSONL of {id, triples}, or HippoRAG's JSON of passages.

    Places are those in the file as it is without compression; of HippoRAG's only the number is one.
    """
    if _is_hipporag(path):
        yield from ((Place(0, 0, entry.line), entry) for entry in _read_passages(path))
        return
    start = 0
    for number, line in enumerate(read_lines(path), 1):
        if line and not line.isspace():
            yield Place(start, len(line), number), _parse_line(line, path, number)
        start += len(line) + 1


def _is_hipporag(path: Path) -> bool:
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return plain.suffix.lower() == ".json"


def _parse_line(line: bytes, path: Path, number: int) -> Entry | BadRow:
    try:
        row = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        return BadRow.of(path.name, number, f"is not JSON ({error})", line)
    key = row.get("id") if isinstance(row, dict) else None
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not isinstance(row.get("triples"), list):
        return BadRow.of(path.name, number, 'is not {"id", "triples"}, a document\'s key and a list', line)
    return Entry(number, key, hash_text(key), row["triples"])


def _read_passages(path: Path) -> Iterator[Entry | BadRow]:
    """Yield the entries of HippoRAG's `{"docs": [{"passage", "extracted_triples"}]}`; their line is their number."""
    data = read_json(path, row="{id, triples}")
    try:
        docs = from_json(data.removeprefix(BOM), allow_inf_nan=False)["docs"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        reason = f'is not HippoRAG\'s {{"docs": […]}} ({error!r}); name a file of lines {{id, triples}} .jsonl'
        raise SourceError(f"{path}: {reason}") from error
    for number, doc in enumerate(docs if isinstance(docs, list) else [docs], 1):
        triples = doc.get("extracted_triples") if isinstance(doc, dict) else None
        if isinstance(triples, list) and isinstance(doc.get("passage"), str):
            yield Entry(number, doc["passage"][:80], _hash_passage(doc["passage"]), triples)
        else:
            yield BadRow.of(path.name, number, 'is not {"passage", "extracted_triples"}', str(doc))


def _hash_passage(*parts: str) -> int:
    """Return the hash of a passage, or of a title and a text; all white space is one."""
    return hash_text(" ".join(" ".join(parts).split()))
