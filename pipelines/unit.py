"""Units of work: how the inputs of a step are cut."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.manifest import Artifact, fingerprint
from mnemodex.schemas.steps import All, Each, Files, Group, Part, Pieces, Range, Read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.schemas.steps import Key, SourceUnit, Step


@dataclass(slots=True)
class Draft:
    """A unit before it has its fingerprint: the artifacts that it reads, input by input."""

    label: str
    inputs: list[list[Artifact]]
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


class Cutter:
    """Cuts the inputs of one step into units, as they become ready.

    Attributes:
        done: whether there will be no more units.
    """

    def __init__(self, step: Step) -> None:
        self._reads = step.reads
        self._source = step.source
        self._given = 0
        self.done = False

    def more(self, results: Results) -> Iterator[Draft]:
        """Yield the units that can be made now and were not before, in order."""
        if not self._reads and not self.done:
            self.done = True
            yield from (Draft(unit.label, [], source=unit) for unit in self._source)
        if self.done or not all(results.complete(read.table) for read in self._reads if not _in_parts(read)):
            return
        complete = results.complete(self._reads[0].table)
        parts = results.ready(self._reads[0].table)
        how = self._reads[0].how
        if isinstance(how, Each | Pieces | Group):
            groups = _groups(parts[self._given :], how, complete=complete)
            for group in groups:
                drafts = self._aligned(group, results)
                if drafts is None:
                    return
                self._given += len(group)
                yield from drafts
            self.done = complete and self._given == len(parts)
        elif complete:
            yield from self._whole(list(parts), results)
            self.done = True

    def _aligned(self, group: list[Artifact], results: Results) -> list[Draft] | None:
        """Return the units of some partitions, or None where a further input is not there yet."""
        inputs = [group]
        for read in self._reads[1:]:
            if isinstance(read.how, Each):
                found = [results.find(read.table, part.label) for part in group]
                if any(part is None for part in found):
                    return None
                inputs.append([part for part in found if part is not None])
            else:
                inputs.append(list(results.ready(read.table)))
        label = group[0].label
        if not isinstance(self._reads[0].how, Pieces):
            return [Draft(label, inputs)]
        return [
            Draft(f"{label}-{number:04d}", inputs, piece=piece)
            for number, piece in enumerate(pairwise(group[0].stats.pieces))
        ]

    def _whole(self, parts: list[Artifact], results: Results) -> Iterator[Draft]:
        inputs = [parts, *(list(results.ready(read.table)) for read in self._reads[1:])]
        how = self._reads[0].how
        if isinstance(how, Range):
            for bucket in range(how.buckets):
                yield Draft(f"{bucket:05d}", inputs, bucket=bucket, buckets=how.buckets)
        elif isinstance(how, Files):
            for name in sorted({name for part in parts for name in part.names}):
                yield Draft(name, [[part for part in parts if part.part(name) is not None], *inputs[1:]])
        else:
            yield Draft("all", inputs)


def _in_parts(read: Read) -> bool:
    return isinstance(read.how, Each | Pieces | Group)


def _groups(parts: Sequence[Artifact], how: Each | Pieces | Group, *, complete: bool) -> Iterator[list[Artifact]]:
    """Yield consecutive partitions that are worked on together; the last group only once nothing can follow it."""
    if not isinstance(how, Group):
        yield from ([part] for part in parts)
        return
    group: list[Artifact] = []
    rows = size = 0
    for part in parts:
        full = rows + part.rows > how.rows or (how.bytes is not None and size + part.bytes > how.bytes)
        if group and full:
            yield group
            group, rows, size = [], 0, 0
        group.append(part)
        rows += part.rows
        size += part.bytes
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
    return fingerprint(identity, prints, draft.bucket, draft.buckets, draft.piece, content)


def _prints(read: Read, parts: list[Artifact], label: str) -> list[str]:
    if isinstance(read.how, Part | Files):
        # Only what was set aside for this unit decides.
        return [file.sha256 for part in parts if (file := part.part(label)) is not None]
    return [part.fingerprint for part in parts]
