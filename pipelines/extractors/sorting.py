"""One pass over a file of triples, which sorts its lines by the partitions of the documents that they are about."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.triple_lines import entries, is_hipporag, passage_names
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.triples import TripleFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.base import Finished
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.spec import Spec

_BUFFER = 64 << 20
"""Bytes of lines that wait in memory until they are appended to their partitions' files."""


class SortStats(Stats):
    """What a file of triples holds for some documents.

    Attributes:
        lines: lines, or passages, in all.
        unknown: those that are about no document.
        example: the first of these.
    """

    lines: int = 0
    unknown: int = 0
    example: str = ""


class SortTriples(Op):
    """Writes the lines of a file into one file a partition of documents, `LABEL.jsonl`.

    Memory: about 40 bytes a document, the lines that wait (64 MiB) and, of HippoRAG's format, the whole file (at most
    1 GiB).
    """

    Settings: ClassVar[type[Spec]] = TripleFile
    seconds_per_megabyte: ClassVar[float] = 0.1
    settings: TripleFile

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            SourceError: the file cannot be read, or has more bad lines than the recipe accepts.
        """
        path = Path(self.settings.path)
        documents = inputs.partitions(0)
        directory = _Directory.of(documents, by_text=is_hipporag(path))
        writer = _Writer(output.folder)
        bad: list[BadRow] = []
        lines = unknown = 0
        example = ""
        for entry in entries(path):
            lines += 1
            if isinstance(entry, BadRow):
                bad.append(entry)
                self._check(bad)
                continue
            found = next((rows for value in entry.hashes if (rows := directory.find(value))), [])
            if not found:
                example = example or entry.name
                unknown += 1
            for partition, doc_id in found:
                writer.add(documents[partition].label, [doc_id, entry.line, entry.triples])
        writer.finish()
        (output.folder / "lines.txt").write_text(str(lines))
        output.rows = lines
        output.errors(bad, of="triples")
        return SortStats(lines=lines, unknown=unknown, example=example, errors=len(bad))

    @classmethod
    def check(cls, finished: Finished) -> None:
        """Refuse a file that was sorted before, when the recipe accepted more bad lines."""
        settings: Any = finished.step.settings
        if finished.parts[0].stats.errors > settings.max_errors:
            msg = (
                f"{settings.path}: more than `triples.max_errors: {settings.max_errors}` lines cannot be read"
                f"{finished.first_error()}"
            )
            raise SourceError(msg)

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Tell of lines that cannot be read, and of those that are about no document."""
        stats = finished.parts[0].stats.of(SortStats)
        settings: Any = finished.step.settings
        said = []
        if stats.errors:
            said.append(f"triples: {stats.errors} failures{finished.first_error()}; the table errors has them all")
        if stats.unknown:
            said.append(
                f"triples: {stats.unknown} of {stats.lines} entries of {settings.path} are about no document (the "
                f"first: {stats.example!r}); their ids are the documents' keys"
            )
        return said

    def _check(self, bad: list[BadRow]) -> None:
        limit = self.settings.max_errors
        if len(bad) > limit:
            msg = (
                f"{self.settings.path}: more than `triples.max_errors: {limit}` lines cannot be read: line "
                f"{bad[0].line} {bad[0].reason}"
            )
            raise SourceError(msg)


@dataclass(frozen=True)
class _Directory:
    """Documents by a hash, ascending: where they are."""

    hashes: NDArray[np.int64]
    partitions: NDArray[np.int32]
    doc_ids: NDArray[np.int64]

    @classmethod
    def of(cls, documents: Sequence[InputPartition], *, by_text: bool) -> _Directory:
        """Return the documents by key; or by title and text, and by the text alone."""
        hashes: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        partitions: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
        ids: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        columns = ["doc_id", "title", "text"] if by_text else ["doc_id", "key"]
        for number, part in enumerate(documents):
            for batch in parquet.read_batches(part.files["parquet"], columns=columns, rows=512):
                doc_ids, *rest = (batch[name].to_pylist() for name in columns)
                names = [passage_names(*row) if by_text else (hash_text(*row),) for row in zip(*rest, strict=True)]
                hashes.append(np.array([value for row in names for value in row], np.int64))
                ids.append(np.repeat(np.array(doc_ids, np.int64), [len(row) for row in names]))
                partitions.append(np.full(len(ids[-1]), number, np.int32))
        flat = np.concatenate(hashes)
        order = np.argsort(flat, kind="stable")
        return cls(flat[order], np.concatenate(partitions)[order], np.concatenate(ids)[order])

    def find(self, value: int) -> list[tuple[int, int]]:
        """Return partition and id of the documents with a hash."""
        begin, end = np.searchsorted(self.hashes, value, "left"), np.searchsorted(self.hashes, value, "right")
        return list(zip(self.partitions[begin:end].tolist(), self.doc_ids[begin:end].tolist(), strict=True))


class _Writer:
    """Appends lines to the files of partitions, some megabytes at a time, so that few files are open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: dict[str, list[bytes]] = {}
        self._bytes = 0

    def add(self, label: str, line: list[Any]) -> None:
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        self._waiting.setdefault(label, []).append(data)
        self._bytes += len(data)
        if self._bytes > _BUFFER:
            self._flush()

    def _flush(self) -> None:
        for label, lines in self._waiting.items():
            with (self._folder / f"{label}.jsonl").open("ab") as file:
                file.writelines(lines)
        self._waiting, self._bytes = {}, 0

    def finish(self) -> None:
        self._flush()
