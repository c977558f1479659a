"""Extraction: a partition of chunks becomes one of triples, and what was bad rows of `errors`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.base import Extraction, Passages, Raw
from mnemodex.pipelines.extractors.judge import Judge
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.kinds import EXTRACTORS, AnyExtractor, load
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TRIPLES, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnemodex.pipelines.extractors.base import Extractor
    from mnemodex.pipelines.extractors.judge import Triple
    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

_BATCH = 256
"""Documents that are given to an extractor at once."""

CHUNK_COLUMNS = ("chunk_id", "doc_id", "title", "text")
_SCHEMA = spec_of(TRIPLES).schema


class ExtractSettings(Spec):
    """An extractor, and the salt of ids."""

    extractor: AnyExtractor
    id_salt: str


class TripleStats(Stats):
    """What extraction gave.

    Attributes:
        documents: documents that were read.
        chunks: chunks of them.
        characters: of these.
        failed: chunks or documents of which nothing could be used.
        without: documents without a triple.
        counts: triples that were left out or doubtful, by kind, and what the extractor counts: answers, tokens.
    """

    documents: int = 0
    chunks: int = 0
    characters: int = 0
    failed: int = 0
    without: int = 0
    counts: dict[str, int] = Field(default_factory=dict)


class ExtractOp(Op):
    """Extracts the triples of one partition of chunks."""

    Settings: ClassVar[type[Spec]] = ExtractSettings
    seconds_per_megabyte: ClassVar[float] = 35.0
    settings: ExtractSettings

    def __init__(self, settings: ExtractSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._name: str = getattr(settings.extractor, "extractor", "")
        self._extractor: Extractor = load(EXTRACTORS.find(self._name).make)(settings.extractor, work)

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`; the inputs are chunks, their documents and, of a file, the lines of the partition."""
        self._extractor.begin(inputs.part(2) if len(inputs.unit.inputs) > 2 else None)
        judge = Judge(salt=self.settings.id_salt)
        bad: list[BadRow] = []
        counts = Counter[str](documents=0, chunks=0, characters=0, failed=0, without=0)
        known, spent = _resume(output.checkpoint)
        output.write(spec_of(TRIPLES), self._batches(inputs, output.checkpoint, known, judge, bad, counts))
        output.errors(bad)
        spent.update(self._extractor.counts())
        return TripleStats(**counts, errors=len(bad), counts={**judge.counts, **spent})

    @classmethod
    def check(cls, finished: Finished) -> None:
        """Refuse more failures than the recipe accepts."""
        limit = getattr(_extractor(finished), "max_errors", None)
        failed = sum(part.stats.of(TripleStats).failed for part in finished.parts)
        if limit is not None and failed > limit:
            msg = f"triples: {failed} failures, more than `triples.max_errors: {limit}`{finished.first_error()}"
            raise SourceError(msg)

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Tell of triples that were left out, of failures, and of documents without triples."""
        stats = [part.stats.of(TripleStats) for part in finished.parts]
        counts = Counter[str]()
        for one in stats:
            counts.update(one.counts)
        kinds = {
            "wrong_form": "not three strings",
            "empty_name": "a name without letters",
            "self_loop": "one entity twice",
        }
        said = []
        if left := sum(counts[key] for key in kinds):
            listed = ", ".join(f"{counts[key]} {what}" for key, what in kinds.items() if counts[key])
            said.append(f"triples: {left} of {left + finished.rows} left out ({listed}); the table errors has them all")
        if failed := sum(one.failed for one in stats):
            said.append(f"triples: {failed} failures{finished.first_error()}; the table errors has them all")
        if without := sum(one.without for one in stats):
            said.append(f"triples: {without} of {sum(one.documents for one in stats)} documents have none")
        return said

    @classmethod
    def note(cls, finished: Finished) -> str:
        """Return what a model read and wrote, or how quick it was."""
        stats = [part.stats.of(TripleStats) for part in finished.parts]
        documents, characters = sum(one.documents for one in stats), sum(one.characters for one in stats)
        spec = _extractor(finished)
        if spec.extractor == "llm":
            read, written = (
                sum(one.counts.get(key, 0) for one in stats) for key in ("prompt_tokens", "completion_tokens")
            )
            prices = (spec.prompt_price or 0.0) * read + (spec.completion_price or 0.0) * written
            cost = f", cost {prices / 1e6:.4f}" if prices else ""
            return f"{documents} documents, {read} tokens read and {written} written{cost}"
        seconds = sum(one.cpu_seconds for one in stats)
        if spec.extractor == "file" or not seconds:
            return ""
        return f"{documents / seconds:.1f} documents/s, {characters / seconds:,.0f} characters/s of a CPU"

    def _batches(
        self,
        inputs: Inputs,
        checkpoint: Checkpoint,
        known: dict[int, Extraction],
        judge: Judge,
        bad: list[BadRow],
        counts: Counter[str],
    ) -> Iterator[pa.RecordBatch]:
        number = 0
        for ids, documents in _documents(inputs):
            found = [known.get(place) for place in range(number, number + len(documents))]
            if None in found:
                before = Counter(self._extractor.counts())
                found = list(self._extractor.extract(documents))
                spent = Counter(self._extractor.counts()) - before
                checkpoint.add(_kept(number, [one for one in found if one is not None], spent))
            number += len(documents)
            rows: list[tuple[int, int, Triple]] = []
            for chunk_ids, extraction in zip(ids, found, strict=True):
                assert extraction is not None  # noqa: S101 - all of the batch are known
                kept, wrong = _judged(chunk_ids, extraction, judge)
                rows += kept
                bad += [*extraction.problems, *wrong]
                counts.update(failed=len(extraction.problems), without=not kept)
            texts = [text for document in documents for text in document.texts]
            counts.update(documents=len(documents), chunks=len(texts), characters=sum(map(len, texts)))
            yield _record_batch(rows, self._name, self.settings.id_salt)


def _extractor(finished: Finished) -> Any:
    return finished.step.settings.extractor  # type: ignore[attr-defined] # they are ExtractSettings


def _documents(inputs: Inputs) -> Iterator[tuple[list[list[int]], list[Passages]]]:
    """Yield batches of documents with the ids of their chunks; the chunks of a document follow each other."""
    table = parquet.read(inputs.partition(1).files["parquet"], columns=["doc_id", "source", "line"])
    places = {
        doc_id: (source, line) for doc_id, source, line in zip(*(column.to_pylist() for column in table), strict=True)
    }
    ids: list[list[int]] = []
    batch: list[Passages] = []
    for doc_id, group in groupby(_rows(inputs.partition(0).files["parquet"]), key=lambda row: row[1]):
        rows = list(group)
        if len(batch) == _BATCH:
            yield ids, batch
            ids, batch = [], []
        ids.append([row[0] for row in rows])
        batch.append(Passages(doc_id, rows[0][2], tuple(row[3] for row in rows), *places[doc_id]))
    if batch:
        yield ids, batch


def _rows(path: Path) -> Iterator[tuple[Any, ...]]:
    for batch in parquet.read_batches(path, columns=CHUNK_COLUMNS, rows=512):
        yield from zip(*(batch[name].to_pylist() for name in CHUNK_COLUMNS), strict=True)


def _kept(first: int, found: list[Extraction], spent: Counter[str]) -> pa.RecordBatch:
    """Return extractions as a checkpoint keeps them: with the documents' numbers in the partition, and what they took.

    What they took is in the row of the first one.
    """
    return pa.record_batch(
        {
            "document": pa.array(np.arange(first, first + len(found))),
            "found": pa.array([json.dumps(asdict(one)) for one in found], pa.string()),
            "spent": pa.array([json.dumps(spent), *["{}"] * (len(found) - 1)], pa.string()),
        }
    )


def _resume(checkpoint: Checkpoint) -> tuple[dict[int, Extraction], Counter[str]]:
    """Return what a former try extracted, by the documents' numbers in the partition, and what that took."""
    known = {}
    spent = Counter[str]()
    for batch in checkpoint.load():
        for number, text, took in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
            data = json.loads(text)
            triples = [[Raw(**raw) for raw in chunk] for chunk in data["triples"]]
            known[number] = Extraction(triples, [BadRow(**bad) for bad in data["problems"]])
            spent.update(json.loads(took))
    return known, spent


def _judged(
    chunk_ids: list[int], found: Extraction, judge: Judge
) -> tuple[list[tuple[int, int, Triple]], list[BadRow]]:
    """Return the usable triples of a document as (chunk_id, ordinal, triple), and why the others are not."""
    kept: list[tuple[int, int, Triple]] = []
    bad: list[BadRow] = []
    for chunk_id, triples in zip(chunk_ids, found.triples, strict=True):
        ordinal = 0
        for judged in map(judge, triples):
            if isinstance(judged, BadRow):
                bad.append(judged)
                continue
            kept.append((chunk_id, ordinal, judged))
            ordinal += 1
    return kept, bad


def _record_batch(rows: list[tuple[int, int, Triple]], extractor: str, salt: str) -> pa.RecordBatch:
    chunk_ids = np.array([chunk_id for chunk_id, _, _ in rows], np.int64)
    ordinals = np.array([ordinal for _, ordinal, _ in rows], np.int64)
    triples = [triple for _, _, triple in rows]
    columns: dict[str, Any] = {
        "triple_id": hash_columns([chunk_ids, ordinals], salt=salt),
        "chunk_id": chunk_ids,
        "ordinal": ordinals.astype(np.int32),
        "extractor": [extractor] * len(rows),
    }
    parts = [columns.get(field.name, [getattr(triple, field.name, None) for triple in triples]) for field in _SCHEMA]
    arrays = [pa.array(part, field.type) for part, field in zip(parts, _SCHEMA, strict=True)]
    return pa.record_batch(arrays, schema=_SCHEMA)
