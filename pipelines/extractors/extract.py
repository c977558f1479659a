"""Extraction: a partition of chunks becomes one of triples, and unusable ones become rows of `errors`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.base import Extraction, Extractor, Passages, Raw
from mnemodex.pipelines.extractors.kept import Kept
from mnemodex.pipelines.ops.base import Finished, Op, Work
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.kinds import EXTRACTORS, AnyExtractor, load
from mnemodex.schemas.limits import SHARE, exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import EXTRACTIONS, TRIPLES, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.schemas.store.store import Store

_BATCH = 256
"""Documents that are given to an extractor at once."""
CHUNK_COLUMNS = ("chunk_id", "doc_id", "title", "text")
DOCUMENT_COLUMNS = ("doc_id", "source", "line")
_TRIPLES = spec_of(TRIPLES)
_LEFT_OUT = {"wrong_form": "not three strings", "empty_name": "a name without letters", "self_loop": "one entity twice"}


class ExtractSettings(Spec):
    """An extractor, and the salt of ids."""

    extractor: AnyExtractor
    id_salt: str


class TripleStats(Stats):
    """Documents that were read, their chunks and the characters of these, failures, and documents without a triple.

    `counts` are triples that were left out or are doubtful, by kind, and the extractor's own: answers, tokens.
    """

    documents: int = 0
    chunks: int = 0
    characters: int = 0
    failed: int = 0
    without: int = 0
    counts: Counter[str] = Field(default_factory=Counter)


class ExtractOp(Op):
    """Extracts the triples of one partition of chunks.

    The inputs are chunks, their documents and, of an extractor that reads a file, the lines of the partition. What a
    model found in a document is taken over from the current snapshot, wherever the document is now.
    """

    Settings = ExtractSettings
    seconds_per_megabyte = 35.0
    tries_again = True
    settings: ExtractSettings

    def __init__(self, settings: ExtractSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._name: str = getattr(settings.extractor, "extractor", "")
        self._extractor: Extractor = load(EXTRACTORS.find(self._name).make)(settings.extractor, work)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        # A file may say something else of a document by now.
        kept = Kept(inputs) if len(inputs.unit.inputs) == 2 else None
        self._extractor.begin(inputs.part(2) if kept is None else None)
        self._judge = Judge(salt=self.settings.id_salt)
        self._bad: list[BadRow] = []
        self._bad_of: list[int] = []
        self._counts = Counter[str](documents=0, chunks=0, characters=0, failed=0, without=0, reused=0)
        done, spent = _resume(output.checkpoint)
        output.write(_TRIPLES, self._batches(inputs, output.checkpoint, done, kept))
        if kept is not None:
            output.write(spec_of(EXTRACTIONS), kept.batches(), key=EXTRACTIONS)
        output.errors(self._bad, doc_ids=self._bad_of)
        spent.update(self._extractor.counts())
        return TripleStats(**self._counts, errors=len(self._bad), counts={**self._judge.counts, **spent})

    @override
    @classmethod
    def probe(cls, settings: ExtractSettings, store: Store) -> list[str]:
        with EXTRACTORS.calling(getattr(settings.extractor, "extractor", "")) as entry:
            # Packages may have extractors of their own class.
            probe = getattr(load(entry.make), "probe", None)
            return probe(settings.extractor, Work(1, store)) if probe is not None else []

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        _check_errors(finished, complete=False)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        _check_errors(finished, complete=True)
        stats = finished.total(TripleStats)
        counts = stats.counts
        warnings = []
        if left_out := sum(counts[kind] for kind in _LEFT_OUT):
            kinds = ", ".join(f"{counts[kind]} {form}" for kind, form in _LEFT_OUT.items() if counts[kind])
            total = left_out + finished.rows
            warnings.append(f"{left_out} of {total} left out ({kinds}); the table errors has them all")
        if stats.failed:
            warnings.append(f"{stats.failed} failures{finished.first_error()}; the table errors has them all")
        if stats.without:
            warnings.append(f"{stats.without} of {stats.documents} documents have none")
        return [f"triples: {warning}" for warning in warnings]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        stats = finished.total(TripleStats)
        settings: Any = finished.step.settings
        spec = settings.extractor
        if spec.extractor == "llm":
            read, written = stats.counts["prompt_tokens"], stats.counts["completion_tokens"]
            prices = (spec.prompt_price or 0.0) * read + (spec.completion_price or 0.0) * written
            cost = f", cost {prices / 1e6:.4f}" if prices else ""
            return f"{stats.documents} documents, {read} tokens read and {written} written{cost}"
        seconds = sum(part.stats.cpu_seconds for part in finished.parts)
        if spec.extractor == "file" or not seconds:
            return ""
        documents, characters = stats.documents / seconds, stats.characters / seconds
        return f"{documents:.1f} documents/s, {characters:,.0f} characters/s of a CPU"

    def _batches(
        self, inputs: Inputs, checkpoint: Checkpoint, done: dict[int, Extraction], kept: Kept | None
    ) -> Iterator[pa.RecordBatch]:
        start = 0
        for ids, documents in _read_documents(inputs):
            extractions = {n: done[start + n] for n in range(len(documents)) if start + n in done}
            known = kept.find(ids, documents) if kept is not None else {}
            missing = [number for number in range(len(documents)) if number not in extractions and number not in known]
            if missing:
                before = Counter(self._extractor.counts())
                found = list(self._extractor.extract([documents[number] for number in missing]))
                checkpoint.add(_pack(start + np.array(missing), found, Counter(self._extractor.counts()) - before))
                extractions |= zip(missing, found, strict=True)
            start += len(documents)
            rows: list[tuple[Any, ...]] = []
            for number, chunk_ids in enumerate(ids):
                extraction = extractions.get(number) or known[number]
                if kept is not None:
                    kept.add(chunk_ids, extraction)
                triples = self._check_triples(chunk_ids, extraction)
                self._bad_of += [documents[number].doc_id] * (len(self._bad) - len(self._bad_of))
                reused = 0 if number in extractions else len(triples)
                self._counts.update(failed=len(extraction.problems), without=not triples, reused=reused)
                rows += triples
            texts = [text for document in documents for text in document.texts]
            self._counts.update(documents=len(documents), chunks=len(texts), characters=sum(map(len, texts)))
            columns: list[Any] = list(zip(*rows, strict=True)) or [()] * (len(_TRIPLES.schema) - 2)
            hashed = [np.array(column, np.int64) for column in columns[:2]]
            columns = [hash_columns(hashed, salt=self.settings.id_salt), *columns, [self._name] * len(rows)]
            yield pa.record_batch(columns, schema=_TRIPLES.schema)

    def _check_triples(self, chunk_ids: list[int], extraction: Extraction) -> list[tuple[Any, ...]]:
        """Return the usable triples of a document as (chunk_id, ordinal, *triple); keep why the others are not."""
        rows: list[tuple[Any, ...]] = []
        self._bad += extraction.problems
        for chunk_id, raws in zip(chunk_ids, extraction.triples, strict=True):
            judged = list(map(self._judge, raws))
            self._bad += [row for row in judged if isinstance(row, BadRow)]
            triples = [row for row in judged if not isinstance(row, BadRow)]
            rows += [(chunk_id, ordinal, *triple) for ordinal, triple in enumerate(triples)]
        return rows


def _check_errors(finished: Finished, *, complete: bool) -> None:
    """Refuse triples of which too many are missing, also where the extractor of a package has no such setting."""
    settings: Any = finished.step.settings
    limit = getattr(settings.extractor, "max_errors", SHARE)
    stats = finished.total(TripleStats)
    # Former builds did not count chunks.
    tried = max(stats.chunks, stats.documents)
    if exceeds(limit, stats.failed, tried, complete=complete):
        failures = f"{stats.failed} failures at {tried} chunks"
        raise SourceError(f"triples: {failures}, more than `triples.max_errors: {limit}`{finished.first_error()}")


def _read_documents(inputs: Inputs) -> Iterator[tuple[list[list[int]], list[Passages]]]:
    """Yield batches of documents with the ids of their chunks; the chunks of a document follow each other."""
    table = parquet.read(inputs.partition(1).files["parquet"], columns=DOCUMENT_COLUMNS)
    origins = {doc_id: origin for doc_id, *origin in zip(*(column.to_pylist() for column in table), strict=True)}
    batches = parquet.read_batches(inputs.partition(0).files["parquet"], columns=CHUNK_COLUMNS, rows=512)
    chunks = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch), strict=True))
    ids: list[list[int]] = []
    documents: list[Passages] = []
    for doc_id, group in groupby(chunks, key=lambda row: row[1]):
        if len(documents) == _BATCH:
            yield ids, documents
            ids, documents = [], []
        chunk_ids, _, titles, texts = zip(*group, strict=True)
        ids.append(list(chunk_ids))
        documents.append(Passages(doc_id, titles[0], texts, *origins[doc_id]))
    if documents:
        yield ids, documents


def _pack(numbers: Int64s, extractions: list[Extraction], spent: Counter[str]) -> pa.RecordBatch:
    """Return extractions for a checkpoint, with the documents' numbers; the first row has the counts of all."""
    return pa.record_batch(
        {
            "document": pa.array(numbers),
            "found": pa.array([json.dumps(asdict(extraction)) for extraction in extractions], pa.string()),
            "spent": pa.array([json.dumps(spent), *["{}"] * (len(extractions) - 1)], pa.string()),
        }
    )


def _resume(checkpoint: Checkpoint) -> tuple[dict[int, Extraction], Counter[str]]:
    """Return the extractions of a former try, by the documents' numbers in the partition, and the counts they took."""
    extractions = {}
    spent = Counter[str]()
    for batch in checkpoint.load():
        for number, text, counts in zip(*(column.to_pylist() for column in batch), strict=True):
            data = json.loads(text)
            triples = [[Raw(**raw) for raw in chunk] for chunk in data["triples"]]
            extractions[number] = Extraction(triples, [BadRow(**bad) for bad in data["problems"]])
            spent.update(json.loads(counts))
    return extractions, spent


class Judge:
    """Checks raw triples.

    Left out: what is not three strings (`wrong_form` in `counts`), names without a letter or digit (`empty_name`), and
    facts about one entity only (`self_loop`). Kept, but counted: names of one character, predicates without a letter.
    """

    def __init__(self, *, salt: str) -> None:
        self._salt = salt
        self.counts = Counter[str](wrong_form=0, empty_name=0, self_loop=0, one_character=0, no_predicate=0)

    def __call__(self, raw: Raw) -> tuple[str | int, ...] | BadRow:
        """Return a triple as written, with the ids of both entities and of the fact; or why it is left out."""
        value = raw.value
        # Models write numbers without quotes.
        if not isinstance(value, list | tuple) or len(value) != 3 or not all(map(_is_name, value)):
            return self._leave_out(raw, "wrong_form", "a triple is three strings")
        subject, predicate, object_ = (" ".join(str(part).split()) for part in value)
        head, middle, tail = map(normalize, (subject, predicate, object_))
        if not head or not tail:
            return self._leave_out(raw, "empty_name", "a name of the triple has no letter or digit")
        if head == tail:
            return self._leave_out(raw, "self_loop", "both names of the triple are one entity")
        self.counts["one_character"] += len(head) == 1 or len(tail) == 1
        self.counts["no_predicate"] += not middle
        head_id, tail_id = (entity_id(name, salt=self._salt) for name in (head, tail))
        return subject, predicate, object_, head_id, tail_id, fact_id(head, middle, tail, salt=self._salt)

    def _leave_out(self, raw: Raw, kind: str, reason: str) -> BadRow:
        self.counts[kind] += 1
        return BadRow.of(raw.source, raw.line, reason, str(raw.value))


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
