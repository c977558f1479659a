"""Reading a source: a split becomes a partition of documents, and its bad rows rows of `errors`."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Split
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.kinds import AnySource
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.tables import DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.sources.base import Record

_BATCH = 1024
_SCHEMA = spec_of(DOCUMENTS).schema


class ReadSettings(Spec):
    """A source, and the salt of ids."""

    source: AnySource
    id_salt: str


class ReadOp(Op):
    """Reads one split; the reader stays open for the next split of the same file."""

    Settings: ClassVar[type[Spec]] = ReadSettings
    seconds_per_megabyte: ClassVar[float] = 0.05
    settings: ReadSettings

    def __init__(self, settings: ReadSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._source = open_source(settings.source)

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`; the unit's source is a split as JSON."""
        bad: list[BadRow] = []
        records = self._source.read(Split.from_json(inputs.unit.source))
        output.write(spec_of(DOCUMENTS), _documents(records, bad, self.settings.id_salt))
        output.errors(bad)
        return Stats(errors=len(bad))

    @classmethod
    def check(cls, finished: Finished) -> None:
        """Refuse more bad rows than the recipe accepts."""
        source: Any = finished.step.settings.source  # type: ignore[attr-defined] # they are ReadSettings
        count = sum(part.stats.errors for part in finished.parts)
        if count > source.max_errors:
            msg = (
                f"{source.path}: {_rows(count)} cannot be read, more than `source.max_errors: {source.max_errors}`"
                f"{finished.first_error()}"
            )
            raise SourceError(msg)

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Refuse a source without documents; tell of rows that were left out."""
        source: Any = finished.step.settings.source  # type: ignore[attr-defined] # they are ReadSettings
        count = sum(part.stats.errors for part in finished.parts)
        if not finished.rows:
            msg = f"{source.path}: no documents{finished.first_error()}"
            raise SourceError(msg)
        return [f"{_rows(count)} left out{finished.first_error()}; the table errors has them all"] if count else []


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _documents(records: Iterable[Record | BadRow], bad: list[BadRow], salt: str) -> Iterator[pa.RecordBatch]:
    """Yield records as batches of the documents table; put bad rows into `bad`."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
            continue
        rows.append(_row(record, salt))
        if len(rows) == _BATCH:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _row(record: Record, salt: str) -> tuple[Any, ...]:
    metadata = json.dumps(record.metadata, sort_keys=True, ensure_ascii=False)
    content = content_hash(record.title, record.text, metadata)
    doc_id = hash_text(record.key, content, salt=salt)
    return doc_id, record.key, record.title, record.text, metadata, content, record.source, record.line


def content_hash(title: str, text: str, metadata: str) -> str:
    """Return the SHA-256 of a document without its key; `metadata` is its JSON."""
    return hashlib.sha256(f"{title}\0{text}\0{metadata}".encode()).hexdigest()


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)]
    return pa.record_batch(columns, schema=_SCHEMA)
