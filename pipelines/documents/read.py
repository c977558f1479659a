"""Reading a source: a split becomes a partition of documents, and its bad rows rows of `errors`."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from mnemodex.pipelines.bad_row import LEFT_OUT, BadRow
from mnemodex.pipelines.documents.changes import Deletion, is_change, read_changes
from mnemodex.pipelines.documents.contamination import EvaluationTexts, clean, count_documents
from mnemodex.pipelines.documents.purges import hash_key, read_hashes
from mnemodex.pipelines.documents.splits import read_split
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.kinds import AnySource
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.metadata import documents_spec
from mnemodex.schemas.source_sections import NoSource, shown_paths
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.store.columns import to_column, to_nullable
from mnemodex.schemas.typed_fields import TypedFields, metadata_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mnemodex.pipelines.messages import Unit
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.sources.base import Record, Source

_BATCH = 1024
_LISTED = 5
"""Fields that warnings list."""


class ReadSettings(Spec):
    """A source, the salt of ids, and what of the metadata is in columns.

    Attributes:
        fields: of the metadata, and the names of their types. Part of the step's identity, where there are any.
        strict: whether a row is bad that has a value which does not fit.
        purges: the places of what was purged. What is read without it has the same name: see `Step.rewritten`.
    """

    source: AnySource
    id_salt: str
    fields: Annotated[dict[str, str], RunOnly()] = Field(default_factory=dict)
    strict: Annotated[bool, RunOnly()] = False
    purges: Annotated[tuple[str, ...], RunOnly()] = ()


class ReadStats(Stats):
    """What reading a split found in the fields that are columns.

    Attributes:
        filled: those that some row has.
        misfits: how many values of each do not fit its type.
        zones: how many times of each field have no zone, and how many have one.
        left_out: how many values of each field are bytes, which metadata does not hold.
        contaminated: documents that are left out because they share words with an evaluation.
        first: where the first of these is, and the reason.
        texts: questions and answers of the evaluation, of which `short` have too few words.
    """

    filled: tuple[str, ...] = ()
    misfits: dict[str, int] = Field(default_factory=dict)
    zones: dict[str, tuple[int, int]] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    contaminated: int = 0
    first: str = ""
    texts: int = 0
    short: int = 0


class ReadOp(Op):
    """Reads one split, the unit's source; the reader stays open for the next split of the same file.

    A partition of the change log is read in the same way. A deletion is a row without content, which is dropped later,
    with the document that it is of.
    """

    version: ClassVar[int] = 3
    Settings = ReadSettings
    seconds_per_megabyte = 0.05
    settings: ReadSettings

    @cached_property
    def _source(self) -> Source:
        return open_source(self.settings.source)

    @cached_property
    def _purged(self) -> frozenset[str]:
        return read_hashes(self.work.store, self.settings.purges)

    @cached_property
    def _evaluation(self) -> EvaluationTexts | None:
        settings = getattr(self.settings.source, "decontaminate", None)
        return EvaluationTexts(settings) if settings is not None else None

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        bad: list[BadRow] = []
        contaminated: list[BadRow] = []
        before = self._left_out()
        typed = TypedFields(self.settings.fields, strict=self.settings.strict)
        records, evaluation = self._records(inputs.unit), self._evaluation
        if evaluation is not None:
            records = clean(records, evaluation, contaminated, changes=is_change(inputs.unit.source))
        rows = _rows(records, bad, self.settings.id_salt, typed)
        table = documents_spec(self.settings.fields)
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        output.write(table, (_to_batch(batch, table.schema) for batch in batches))
        output.errors(bad)
        output.errors(contaminated, of=LEFT_OUT)
        return ReadStats(
            errors=len(bad),
            filled=tuple(sorted(typed.filled)),
            misfits=dict(typed.misfits),
            zones={name: (without, having) for name, (without, having) in typed.zones.items()},
            left_out=dict(self._left_out() - before),
            contaminated=len(contaminated),
            first=contaminated[0].shown if contaminated else "",
            texts=evaluation.texts if evaluation is not None else 0,
            short=evaluation.short if evaluation is not None else 0,
        )

    def _left_out(self) -> Counter[str]:
        """Return what the source, which stays open from split to split, has left out so far."""
        source = vars(self).get("_source")
        return Counter(source.left_out) if isinstance(source, FileSource) else Counter()

    def _records(self, unit: Unit) -> Iterable[Record | Deletion | BadRow]:
        if is_change(unit.source):
            return read_changes(self.work.store, unit.source)
        rows = self._source.read(read_split(self.work.store, unit.source, unit.label))
        if not self._purged:
            return rows
        return (row for row in rows if isinstance(row, BadRow) or hash_key(row.key) not in self._purged)

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        _check_errors(finished, complete=False)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        if isinstance(settings.source, NoSource):
            return []
        cleaned = list(_judge_clean(finished))
        if not finished.rows:
            why = finished.first_error() or "".join(f": {warning}" for warning in cleaned[:1])
            raise SourceError(f"{shown_paths(settings.source.path)}: no documents{why}")
        count = _check_errors(finished, complete=True)
        left_out = f"{count_rows(count)} left out{finished.first_error()}; the table errors has them all"
        return [*([left_out] if count else []), *cleaned, *_warn_of_bytes(finished), *_judge_fields(finished)]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        count = sum(part.stats.of(ReadStats).contaminated for part in finished.parts)
        return f"{count_documents(count)} left out that share words with an evaluation" if count else ""


def _judge_clean(finished: Finished) -> Iterator[str]:
    """Yield warnings of documents that share words with an evaluation, and of its texts that are too short for one."""
    settings: Any = finished.step.settings
    stats = [part.stats.of(ReadStats) for part in finished.parts]
    if count := sum(part.contaminated for part in stats):
        first = next(part.first for part in stats if part.first)
        yield f"{count_documents(count)} left out: {first}; the table errors has them all"
    if stats and stats[0].short:
        yield (
            f"source.decontaminate: {stats[0].short} of {stats[0].texts} questions and answers have fewer than "
            f"{settings.source.decontaminate.n} words and are not looked for; a smaller n includes them"
        )


def _check_errors(finished: Finished, *, complete: bool) -> int:
    """Return how many rows cannot be read; refuse more than the recipe accepts."""
    settings: Any = finished.step.settings
    count = sum(part.stats.errors for part in finished.parts)
    limit = settings.source.max_errors
    if exceeds(limit, count, finished.rows + count, complete=complete):
        problem = f"{count_rows(count)} cannot be read, more than `source.max_errors: {limit}`"
        raise SourceError(f"{shown_paths(settings.source.path)}: {problem}{finished.first_error()}")
    return count


def _warn_of_bytes(finished: Finished) -> Iterator[str]:
    """Yield a warning of values that are bytes, where there are any."""
    count = sum((Counter(part.stats.of(ReadStats).left_out) for part in finished.parts), Counter[str]())
    if count:
        names = ", ".join(f"{name!r} {values}" for name, values in count.most_common(_LISTED))
        yield f"values that are bytes, such as images, are left out of the metadata: {names}"


def _judge_fields(finished: Finished) -> Iterator[str]:
    """Yield warnings of columns that lack values."""
    settings: Any = finished.step.settings
    stats = [part.stats.of(ReadStats) for part in finished.parts]
    misfits = sum((Counter(one.misfits) for one in stats), Counter[str]())
    for name, count in misfits.most_common(_LISTED):
        kind = settings.fields[name]
        yield (
            f"values of the metadata field {name!r} that do not fit its type {kind}, inferred from the first rows: "
            f"{count}; they are NULL in the column; declare the field's type in source.metadata"
        )
    for name in settings.fields:
        without, having = (sum(one.zones.get(name, (0, 0))[place] for one in stats) for place in (0, 1))
        if without and having:
            yield (
                f"times of the metadata field {name!r} without a time zone: {without} of {without + having}; they "
                "count as UTC; write one with each, as 2024-05-01T12:00:00+02:00"
            )
    empty = set(settings.fields).difference(*(one.filled for one in stats)) if settings.strict else ()
    if empty:
        names = ", ".join(map(repr, sorted(empty)[:_LISTED]))
        yield f"no row has a value of the metadata field {names}; correct the name in source.metadata"


def _to_batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        (to_nullable if field.nullable else to_column)(column, field.type)
        for column, field in zip(zip(*rows, strict=True), schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def count_rows(count: int) -> str:
    """Return a number of rows in words."""
    return f"{count} row{'' if count == 1 else 's'}"


def _rows(
    records: Iterable[Record | Deletion | BadRow], bad: list[BadRow], salt: str, typed: TypedFields
) -> Iterator[tuple[Any, ...]]:
    """Yield records as rows of the documents table; put bad rows into `bad`."""
    for record in records:
        if isinstance(record, BadRow):
            bad.append(record)
            continue
        if isinstance(record, Deletion):
            yield 0, record.key, "", "", "{}", "", "", 0, *typed.convert({})
            continue
        metadata = metadata_text(record.metadata)
        try:
            values = typed.convert(record.metadata)
        except ValueError as error:
            bad.append(BadRow.of(record.source, record.line, str(error), metadata))
            continue
        content = content_hash(record.title, record.text, metadata)
        doc_id = hash_text(record.key, content, salt=salt)
        yield doc_id, record.key, record.title, record.text, metadata, content, record.source, record.line, *values


def content_hash(title: str, text: str, metadata: str) -> str:
    """Return the SHA-256 of a document without its key; `metadata` is its JSON."""
    return hashlib.sha256(f"{title}\0{text}\0{metadata}".encode()).hexdigest()
