"""Reading a source: a split becomes a partition of documents, and its bad rows rows of `errors`."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.splits import read_split
from mnemodex.pipelines.ops.base import Finished, Op, Work
from mnemodex.pipelines.sources import open_source
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.kinds import AnySource
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store.columns import to_batch
from mnemodex.schemas.tables import DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.sources.base import Record

_BATCH = 1024
_to_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


class ReadSettings(Spec):
    """A source, and the salt of ids."""

    source: AnySource
    id_salt: str


class ReadOp(Op):
    """Reads one split, the unit's source; the reader stays open for the next split of the same file."""

    Settings = ReadSettings
    seconds_per_megabyte = 0.05
    settings: ReadSettings

    def __init__(self, settings: ReadSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._source = open_source(settings.source)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        bad: list[BadRow] = []
        rows = _rows(
            self._source.read(read_split(self.work.store, inputs.unit.source, inputs.unit.label)),
            bad,
            self.settings.id_salt,
        )
        spec = spec_of(DOCUMENTS)
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        output.write(spec, (to_batch(zip(*batch, strict=True), spec.schema) for batch in batches))
        output.errors(bad)
        return Stats(errors=len(bad))

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        _check_errors(finished, complete=False)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        if not finished.rows:
            raise SourceError(f"{settings.source.path}: no documents{finished.first_error()}")
        count = _check_errors(finished, complete=True)
        return [f"{count_rows(count)} left out{finished.first_error()}; the table errors has them all"] if count else []


def _check_errors(finished: Finished, *, complete: bool) -> int:
    """Return how many rows cannot be read; refuse more than the recipe accepts."""
    settings: Any = finished.step.settings
    count = sum(part.stats.errors for part in finished.parts)
    limit = settings.source.max_errors
    if exceeds(limit, count, finished.rows + count, complete=complete):
        problem = f"{count_rows(count)} cannot be read, more than `source.max_errors: {limit}`"
        raise SourceError(f"{settings.source.path}: {problem}{finished.first_error()}")
    return count


def count_rows(count: int) -> str:
    """Return a number of rows in words."""
    return f"{count} row{'' if count == 1 else 's'}"


def _rows(records: Iterable[Record | BadRow], bad: list[BadRow], salt: str) -> Iterator[tuple[Any, ...]]:
    """Yield records as rows of the documents table; put bad rows into `bad`."""
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
            continue
        metadata = _to_json(record.metadata)
        content = content_hash(record.title, record.text, metadata)
        doc_id = hash_text(record.key, content, salt=salt)
        yield doc_id, record.key, record.title, record.text, metadata, content, record.source, record.line


def content_hash(title: str, text: str, metadata: str) -> str:
    """Return the SHA-256 of a document without its key; `metadata` is its JSON."""
    return hashlib.sha256(f"{title}\0{text}\0{metadata}".encode()).hexdigest()
