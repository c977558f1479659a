"""Planning a source: workers cut its files into pieces, which one of them packs into splits."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from mnemodex.pipelines.ops.base import Finished, Op, Work
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Piece, Split, values_of
from mnemodex.pipelines.sources.files import Stretch
from mnemodex.pipelines.sources.packing import Packing, pack
from mnemodex.schemas.errors import CorruptFileError
from mnemodex.schemas.kinds import AnySource
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.store.columns import to_batch, to_table
from mnemodex.schemas.tables import TableSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.store.store import Store

_INTEGER, _TEXT = pa.int64(), pa.string()
_PIECES = pa.schema(
    [
        ("path", _TEXT),
        ("start", _INTEGER),
        ("end", _INTEGER),
        ("first_line", _INTEGER),
        ("sha256", _TEXT),
        ("rows", _INTEGER),
    ]
)
"""The fields of `Piece`."""
_SPLITS = pa.schema([("label", _TEXT), ("content", _TEXT), ("affinity", _TEXT), ("bytes", _INTEGER)])
"""What the driver reads of a split."""
_BATCH = 4096


class PlanSettings(Spec):
    """A source, how large its splits are, and which files of its folder are no documents."""

    source: AnySource
    packing: Packing
    skipped: Annotated[str, RunOnly()] = ""


class ScanOp(Op):
    """Cuts some files, or a stretch of a large one, into pieces: their bounds, lines and hashes."""

    Settings = PlanSettings
    seconds_per_megabyte = 0.005
    settings: PlanSettings

    def __init__(self, settings: PlanSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._source: Any = open_source(settings.source, settings.packing)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        stretches = Stretch.from_json(inputs.unit.source)
        pieces = chain.from_iterable(map(self._source.scan, stretches))
        batches = map(_to_arrow, iter(lambda: list(islice(pieces, _BATCH)), []))
        output.write(TableSpec(_PIECES), batches)
        return Stats()

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        settings: Any = finished.step.settings
        return f"skipped {settings.skipped}" if settings.skipped else ""


class PackOp(Op):
    """Packs the pieces of all files into splits."""

    Settings = PlanSettings
    seconds_per_megabyte = 0.005
    settings: PlanSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        pieces = chain.from_iterable(map(_from_arrow, inputs.batches(0, rows=_BATCH)))
        output.rows = _write_splits(output.folder, pack(continued(pieces), self.settings.packing))
        return Stats()


class PlanOp(Op):
    """Plans a source that says itself what its splits are."""

    Settings = PlanSettings
    settings: PlanSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        output.rows = _write_splits(output.folder, open_source(self.settings.source, self.settings.packing).plan())
        return Stats()


def read_split(store: Store, name: str, label: str) -> Split:
    """Return a split of a plan by its name: the place of the plan, `#` and its number.

    Raises:
        CorruptFileError: the plan is damaged.
    """
    place, _, number = name.rpartition("#")
    plan = store.artifact(place)
    if plan is None:
        raise CorruptFileError(f"{store.root / place}: its marker is missing or damaged; run the build again")
    path = store.files.local(plan.file("pieces.arrow"))
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return Split(label, tuple(_from_arrow(reader.get_batch(int(number)))))


def _write_splits(folder: Path, splits: Iterable[Split]) -> int:
    """Write the pieces of each split as a record batch, and one row of each for the driver; return how many."""
    rows = []
    with pa.ipc.new_file(folder / "pieces.arrow", _PIECES) as writer:
        for split in splits:
            writer.write_batch(_to_arrow(split.pieces))
            rows.append((split.label, split.fingerprint(), split.compressed, split.bytes))
    columns = list(zip(*rows, strict=True)) or [()] * len(_SPLITS)
    pq.write_table(to_table(columns, _SPLITS), folder / "splits.parquet", write_page_checksum=True)
    return len(rows)


def continued(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Count the lines of a file through all of its stretches, each of which begins with line 1."""
    path, before, line = "", 0, 1
    for piece in pieces:
        if piece.path != path:
            path, before = piece.path, 0
        elif piece.first_line == 1:
            before = line - 1
        line = piece.first_line + before + piece.rows
        yield replace(piece, first_line=piece.first_line + before) if before else piece


def _to_arrow(pieces: Sequence[Piece]) -> pa.RecordBatch:
    return to_batch(zip(*map(values_of, pieces), strict=True), _PIECES)


def _from_arrow(batch: pa.RecordBatch) -> Iterator[Piece]:
    return map(Piece, *(column.to_pylist() for column in batch.columns))
