"""One pass over a file of question-answer pairs, which sorts them by the partitions of their documents."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.read import count_rows
from mnemodex.pipelines.extractors.sorting import Directory, SortedLines, SortStats
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.qa.rows import PairRow, read_pairs
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.pair_sections import PairFile
from mnemodex.schemas.spec import RunOnly, Spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.retrievers.tombstones import Tombstones
    from mnemodex.schemas.manifest import Stats

_BATCH = 1 << 16
"""Rows that are compared with those before them at once, and pairs without a document of one partition."""
_NONE = -1
"""No hash, partition or id."""


class PairSettings(Spec):
    """A file of pairs, and the salt of ids."""

    file: PairFile
    id_salt: str


class SortSettings(PairSettings):
    """The same, and the places of tombstones, whose documents pairs are tied to only where there is no other one."""

    tombstones: Annotated[tuple[str, ...], RunOnly()] = ()


class LineStats(SortStats):
    """Rows of a file of pairs, and those that repeat another."""

    repeats: int = 0


class SortPairs(Op):
    """Writes the pairs of a file into one file a partition of documents, `LABEL.jsonl`.

    Those without a document are in files of 65,536 pairs, whose names begin with a plus. Memory: 56 bytes a document,
    24 of which stay, up to 24 bytes a pair, 65,536 pairs, and the lines that wait (64 MiB).
    """

    Settings = SortSettings
    settings: SortSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        seen, bad, rows = _Seen(), list[BadRow](), 0
        store = self.work.store
        tombstones = read_tombstones(store, map(store.checked, self.settings.tombstones))
        pair_lines = _Lines(output.folder, inputs.partitions(0), tombstones)
        for batch in _batches(read_pairs(Path(self.settings.file.path))):
            rows += len(batch)
            pairs = [row for row in batch if isinstance(row, PairRow)]
            bad += [row for row in batch if isinstance(row, BadRow)]
            if bad:
                first = f": {bad[0].source} line {bad[0].line}: {bad[0].reason}"
                _check_errors(self.settings, len(bad), rows, first, complete=False)
            ids = [pair_id(pair.key, pair.question, pair.answers, self.settings.id_salt) for pair in pairs]
            new = seen.add(np.array(ids, np.int64)).tolist()
            pair_lines.add([ids[number] for number in new], [pairs[number] for number in new])
        pair_lines.flush()
        (output.folder / "lines.txt").write_text(str(rows))
        output.rows = rows
        output.errors(bad, of="qa_pairs")
        return LineStats(
            lines=rows,
            repeats=rows - len(bad) - pair_lines.count,
            unknown=pair_lines.unknown,
            example=pair_lines.example,
            errors=len(bad),
        )

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        # A former build may have sorted the file and accepted more bad rows.
        stats = finished.parts[0].stats.of(LineStats)
        _check_errors(finished.step.settings, stats.errors, stats.lines, finished.first_error())

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = finished.parts[0].stats.of(LineStats)
        settings: Any = finished.step.settings
        path, pairs = settings.file.path, stats.lines - stats.errors
        if not pairs:
            raise SourceError(
                f"{path}: none of its {count_rows(stats.lines)} is a question-answer pair{finished.first_error()}"
            )
        warnings = []
        if stats.errors:
            warnings.append(
                f"{count_rows(stats.errors)} left out{finished.first_error()}; the table errors has them all"
            )
        if stats.repeats:
            warnings.append(f"{count_rows(stats.repeats)} repeat a pair, its key included; each is kept once")
        if stats.unknown:
            warnings.append(
                f"{stats.unknown} of {pairs} pairs name a passage that is no document's key (the first: "
                f"the pair {stats.example!r}); they have no passage"
            )
        return [f"qa_pairs: {warning}" for warning in warnings]


def pair_id(key: str, question: str, answers: Sequence[str], salt: str) -> int:
    """Return the id of a pair: a hash of its key, question and answers, as if these were written with single spaces."""
    return hash_text("pair", key, question, *(" ".join(answer.split()) for answer in answers), salt=salt)


def _check_errors(settings: Any, errors: int, lines: int, first_error: str, *, complete: bool = True) -> None:
    if exceeds(limit := settings.file.max_errors, errors, lines, complete=complete):
        problem = f"more than `qa_pairs.max_errors: {limit}` rows cannot be used{first_error}"
        raise SourceError(f"{settings.file.path}: {problem}")


def _batches(rows: Iterator[PairRow | BadRow]) -> Iterator[list[PairRow | BadRow]]:
    return iter(lambda: list(islice(rows, _BATCH)), [])


class _Lines:
    """Lines of pairs that are appended to the files of their partitions.

    Attributes:
        count: of all pairs.
        unknown: of those whose passage is no document's key.
        example: the key of the first such pair.
    """

    def __init__(self, folder: Path, documents: Sequence[InputPartition], tombstones: Tombstones) -> None:
        self._labels = [part.label for part in documents]
        self._directory = Directory(documents, by_text=False, last=partial(tombstones.mask, "doc_id"))
        self._sorted = SortedLines(folder)
        self._alone = self.count = self.unknown = 0
        self.example = ""

    def add(self, ids: Sequence[int], pairs: Sequence[PairRow]) -> None:
        """Add pairs with their ids."""
        hashes = np.array([hash_text(pair.passage) if pair.passage else _NONE for pair in pairs], np.int64)
        partitions, documents = (column.tolist() for column in self._directory.first(hashes))
        for number, pair, partition, document in zip(ids, pairs, partitions, documents, strict=True):
            if partition == _NONE:
                if pair.passage:
                    self.example = self.example or pair.key
                    self.unknown += 1
                label, doc_id = f"+{self._alone // _BATCH:05d}", None
                self._alone += 1
            else:
                label, doc_id = self._labels[partition], document
            self._sorted.add(label, [number, doc_id, pair.key, pair.question, pair.answers, pair.score])
        self.count += len(ids)

    def flush(self) -> None:
        """Write the lines that wait."""
        self._sorted.flush()


class _Seen:
    """Ids that came before, in sorted runs that double in length: each id is sorted a few times in all."""

    def __init__(self) -> None:
        self._runs: list[Int64s] = []

    def add(self, ids: Int64s) -> Int64s:
        """Add ids, and return the places of those that are new, each once, ascending."""
        unique, first = np.unique(ids, return_index=True)
        is_new = np.ones(len(unique), np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, unique), len(run) - 1)
            is_new &= run[places] != unique
        new = unique[is_new]
        while self._runs and len(self._runs[-1]) <= len(new):
            new = np.sort(np.concatenate([new, self._runs.pop()]))
        if len(new):
            self._runs.append(new)
        return np.sort(first[is_new])
