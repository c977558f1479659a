"""What the current snapshot's pass over the same file of triples found: only lines of new documents are read again."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from mnemodex.indexers.arrays import are_among, map_array, save_arrays
from mnemodex.pipelines.sources.reading import BOM, UNREADABLE, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs

_PARTITIONS = "partitions.txt"


class Place(NamedTuple):
    """Where a line is: its first byte after a byte order mark, its bytes without its end, and its number."""

    start: int
    size: int
    line: int


class FormerLines:
    """The places of all lines of a file, the documents that it was sorted for, and the lines of their partitions.

    Args:
        folder: of the lines.
        partitions: the fingerprints of the partitions of documents, by label.
        entries: int64 of shape (4, lines): the hash of a document's name, or -1 of a line that cannot be used, and
            the place.
        documents: int64 of shape (2, documents): the hash of a name, and the number of the partition.
    """

    def __init__(self, folder: Path, partitions: Mapping[str, str], entries: Int64s, documents: Int64s) -> None:
        self._folder = folder
        self._partitions = partitions
        self.entries = entries
        self._documents = documents

    @classmethod
    def of(cls, inputs: Inputs) -> Self | None:
        """Return what the current snapshot has of the same file; None where it has nothing, or a version before's."""
        folder = inputs.former.folder()
        if folder is None or not (folder / _PARTITIONS).exists():
            return None
        partitions = json.loads((folder / _PARTITIONS).read_bytes())
        return cls(folder, partitions, *(map_array(folder / f"{name}.npy") for name in ("entries", "documents")))

    def save(self) -> None:
        """Write what the next pass takes over."""
        (self._folder / _PARTITIONS).write_text(json.dumps(self._partitions))
        save_arrays(self._folder, entries=self.entries, documents=self._documents)

    def kept(self, partitions: Mapping[str, str]) -> set[str]:
        """Return the labels of the partitions that are as they were, given the fingerprints of those of today."""
        return {label for label, made in self._partitions.items() if partitions.get(label) == made}

    def copy(self, labels: set[str], out: Path) -> None:
        """Copy the lines of partitions into a folder."""
        for label in sorted(labels):
            if (path := self._folder / f"{label}.jsonl").exists():
                shutil.copyfile(path, out / path.name)

    def documents(self, labels: set[str], numbers: Mapping[str, int]) -> Int64s:
        """Return the documents of partitions, given the numbers of these today."""
        today = np.full(len(self._partitions), -1, np.int64)
        for number, label in enumerate(self._partitions):
            if label in labels:
                today[number] = numbers[label]
        hashes, partition = self._documents[0], today[self._documents[1]]
        return np.stack([hashes, partition])[:, partition >= 0]

    def read(self, path: Path, hashes: Int64s) -> Iterator[tuple[Place, bytes]]:
        """Yield the lines about documents, given the hashes of their names, ascending, and those of no use.

        Raises:
            SourceError: the file cannot be read.
        """
        chosen = np.flatnonzero((self.entries[0] < 0) | are_among(self.entries[0], hashes))
        try:
            with path.open("rb") as file:
                first = len(BOM) if file.read(len(BOM)) == BOM else 0
                for row in self.entries[1:, chosen].T.tolist():
                    place = Place(*row)
                    file.seek(first + place.start)
                    yield place, file.read(place.size)
        except UNREADABLE as error:
            raise unreadable(path, error) from error
