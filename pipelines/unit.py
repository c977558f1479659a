"""Units of work: how the inputs of a step are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.manifest import Artifact, fingerprint
from mnemodex.schemas.steps import All, Each, Files, First, Group, Part, Pieced, Pieces, Range, Read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.growth import Former
    from mnemodex.schemas.steps import Key, SourceUnit, Step

Starts = dict[str, tuple[int, ...]]
"""Of partitions that are read from a row on, by label: the first row in each input."""


@dataclass(slots=True)
class Draft:
    """A unit before it has its fingerprint: the artifacts that it reads, input by input.

    Attributes:
        starts: partitions that are not read from their first row.
        kept: a result of the current snapshot, which is the unit's as it is.
    """

    label: str
    inputs: list[list[Artifact]]
    starts: Starts = field(default_factory=dict)
    kept: Artifact | None = None
    bucket: int = 0
    buckets: int = 1
    piece: tuple[int, int] | None = None
    source: SourceUnit | None = None


class Results(Protocol):
    """What the steps of a build have given so far."""

    def ready(self, key: Key) -> Sequence[Artifact]:
        """Return the artifacts of a result in their order, as far as there is no gap."""

    def find(self, key: Key, label: str) -> Artifact | None:
        """Return one artifact by its label."""

    def complete(self, key: Key) -> bool:
        """Whether a result has all of its artifacts."""

    def identity(self, key: Key) -> str:
        """Return the hash of the step that makes a result."""

    def id_decides(self, key: Key) -> bool:
        """Whether rows of a table with equal ids are equal, if one step made them."""


class Cutter:
    """Cuts the inputs of one step into units, as they become ready.

    What the current snapshot has of an index that grows is `former`.

    Attributes:
        done: whether there will be no more units.
        given: partitions of the first input that units were made of.
    """

    def __init__(self, step: Step, former: Former | None = None) -> None:
        self._reads = step.reads
        self._former = former
        self._source = step.source
        self.given = 0
        self.done = False

    def more(self, results: Results) -> Iterator[Draft]:
        """Yield the units that can be made now and were not before, in order."""
        if not self._reads and not self.done:
            self.done = True
            yield from (Draft(unit.label, [], source=unit, kept=unit.kept) for unit in self._source)
        as_they_come = self._reads and _in_parts(self._reads[0])
        whole = [read for read in self._reads if not (as_they_come and _in_parts(read))]
        if self.done or not all(results.complete(read.table) for read in whole):
            return
        complete = results.complete(self._reads[0].table)
        parts = results.ready(self._reads[0].table)
        how = self._reads[0].how
        if self._former is not None and isinstance(how, Group):
            # What is kept depends on all partitions.
            if all(results.complete(read.table) for read in self._reads):
                yield from self._grown(self._former, parts, how, results)
                self.done = True
        elif isinstance(how, Each | Pieces | Group):
            groups = _groups(parts[self.given :], how, complete=complete)
            for group in groups:
                drafts = self._aligned(group, results)
                if drafts is None:
                    return
                self.given += len(group)
                yield from drafts
            self.done = complete and self.given == len(parts)
        elif complete:
            yield from self._whole(list(parts), results)
            self.done = True

    def _aligned(self, group: list[Artifact], results: Results) -> list[Draft] | None:
        """Return the units of some partitions, or None where a further input is not there yet."""
        inputs = [group]
        for read in self._reads[1:]:
            if isinstance(read.how, Each | Pieced):
                of_pieces = isinstance(read.how, Pieced)
                labels = _piece_labels(inputs[-1]) if of_pieces else [part.label for part in group]
                found = [results.find(read.table, label) for label in labels]
                if any(part is None for part in found):
                    return None
                inputs.append([part for part in found if part is not None])
            else:
                inputs.append(list(results.ready(read.table)))
        if not isinstance(self._reads[0].how, Pieces):
            return [Draft(group[0].label, inputs)]
        return [
            Draft(label, self._of_piece(inputs, number), piece=piece)
            for number, (label, piece) in enumerate(
                zip(_piece_labels(group), pairwise(group[0].stats.pieces), strict=True)
            )
        ]

    def _of_piece(self, inputs: list[list[Artifact]], number: int) -> list[list[Artifact]]:
        """Return the inputs of one piece: of what was made of pieces only what is of this one."""
        return [
            [parts[number]] if isinstance(read.how, Pieced) else parts
            for read, parts in zip(self._reads, inputs, strict=True)
        ]

    def _grown(self, former: Former, parts: Sequence[Artifact], how: Group, results: Results) -> Iterator[Draft]:
        kept, starts = former.keep(parts, results)
        yield from (Draft(shard.label, [], kept=shard) for shard in kept)
        labels = {shard.label for shard in kept}
        if kept:
            parts = [part for part in parts if part.rows > _start(part, starts)]
        for group in _groups(parts, how, complete=True, starts=starts):
            for draft in self._aligned(group, results) or ():
                draft.starts = {part.label: starts[part.label] for part in group if any(starts.get(part.label, ()))}
                if draft.starts or draft.label in labels:
                    draft.label += f"-row{_start(group[0], starts)}"
                yield draft

    def _whole(self, parts: list[Artifact], results: Results) -> Iterator[Draft]:
        inputs = [parts, *(list(results.ready(read.table)) for read in self._reads[1:])]
        how = self._reads[0].how
        if isinstance(how, Range):
            for bucket in range(how.buckets):
                yield Draft(f"{bucket:05d}", inputs, bucket=bucket, buckets=how.buckets)
        elif isinstance(how, Files):
            for name in sorted({name for part in parts for name in part.names if part.part(name) is not None}):
                aligned = [
                    [part] if (part := results.find(read.table, name)) else [] if isinstance(read.how, Each) else given
                    for read, given in zip(self._reads[1:], inputs[1:], strict=True)
                ]
                yield Draft(name, [[part for part in parts if part.part(name) is not None], *aligned])
        elif isinstance(how, First):
            before = accumulate((part.rows for part in parts), initial=0)
            yield Draft(
                "all", [[part for part, rows in zip(parts, before, strict=False) if rows < how.rows], *inputs[1:]]
            )
        else:
            yield Draft("all", inputs)


def _in_parts(read: Read) -> bool:
    return isinstance(read.how, Each | Pieces | Pieced | Group)


def _piece_labels(parts: Sequence[Artifact]) -> list[str]:
    """Return the labels of the units of all pieces that the stats of partitions name."""
    return [f"{part.label}-{number:04d}" for part in parts for number in range(len(part.stats.pieces) - 1)]


def _start(part: Artifact, starts: Mapping[str, tuple[int, ...]]) -> int:
    """Return the first row of a partition that is read."""
    return starts.get(part.label, (0,))[0]


def rest(part: Artifact, starts: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return how many rows of a partition are read, and their share of its bytes."""
    rows = part.rows - _start(part, starts)
    return rows, part.bytes * rows // max(1, part.rows) if rows < part.rows else part.bytes


def _groups(
    parts: Sequence[Artifact], how: Each | Pieces | Group, *, complete: bool, starts: Mapping[str, tuple[int, ...]] = {}
) -> Iterator[list[Artifact]]:
    """Yield consecutive partitions that are worked on together; the last group only once nothing can follow it."""
    if not isinstance(how, Group):
        yield from ([part] for part in parts)
        return
    group: list[Artifact] = []
    rows = size = 0
    for part in parts:
        part_rows, part_bytes = rest(part, starts)
        full = rows + part_rows > how.rows or (how.bytes is not None and size + part_bytes > how.bytes)
        if group and full:
            yield group
            group, rows, size = [], 0, 0
        group.append(part)
        rows += part_rows
        size += part_bytes
    if group and complete:
        yield group


def check_size(step: Step, draft: Draft) -> None:
    """Refuse inputs that are larger than a step can hold.

    Raises:
        StageFailedError: names the step, the input and both sizes.
    """
    for read, parts in zip(step.reads, draft.inputs, strict=True):
        size = sum(part.bytes for part in parts)
        if isinstance(read.how, All) and read.how.max_bytes is not None and size > read.how.max_bytes:
            raise StageFailedError(
                f"{step.name}: {read.table.label} has {size} bytes, and at most {read.how.max_bytes} can be read at "
                "once; build several smaller memories"
            )


def unit_fingerprint(identity: str, step: Step, draft: Draft) -> str:
    """Return the name of a unit's results: what the step does, and what it reads."""
    content = draft.source.content if draft.source else None
    prints = [_prints(read, parts, draft.label) for read, parts in zip(step.reads, draft.inputs, strict=True)]
    # Nothing is added for a unit that reads whole partitions: its results are found under their former names.
    starts = [draft.starts] if draft.starts else []
    name = fingerprint(identity, prints, draft.bucket, draft.buckets, draft.piece, content, *starts)
    while name in step.rewritten:
        name = step.rewritten[name]
    return name


def _prints(read: Read, parts: list[Artifact], label: str) -> list[str]:
    if isinstance(read.how, Part | Files):
        # Only what was set aside for this unit decides.
        return [file.sha256 for part in parts if (file := part.part(label)) is not None]
    return [part.fingerprint for part in parts]
