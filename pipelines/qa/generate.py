"""Generation: the chunks of a partition become candidates, and what failed rows of `errors`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from pydantic import Field
from typing_extensions import override

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.ops.base import Finished, Work
from mnemodex.pipelines.qa.chunks import ChunkOp
from mnemodex.pipelines.qa.generators.base import Candidate, Generator, Span
from mnemodex.pipelines.qa.passages import choose_passages
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.kinds import GENERATORS, AnyGenerator, load
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import GENERATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.qa.generators.base import Generated, Passage
    from mnemodex.schemas.store.store import Store

DOCUMENT_COLUMNS = ("doc_id", "source", "line")


class GenerateSettings(Spec):
    """The recipe's section, which names the generator."""

    pairs: AnyGenerator


class GenerateStats(Stats):
    """Chunks of the partition, those that were asked about, those of them without a candidate, and with failures.

    `failed` are chunks with failures and without a candidate; `counts` the generator's own: answers, tokens.
    """

    chunks: int = 0
    asked: int = 0
    without: int = 0
    failed: int = 0
    counts: Counter[str] = Field(default_factory=Counter)


class GenerateOp(ChunkOp):
    """Generates the candidates of one partition of chunks.

    The inputs are chunks, those of them that are chosen where the recipe chooses some, their answers where the
    generator finds none itself, and documents.
    """

    Settings = GenerateSettings
    table = GENERATIONS
    seconds_per_megabyte = 60.0
    tries_again = True
    settings: GenerateSettings

    def __init__(self, settings: GenerateSettings, work: Work) -> None:
        super().__init__(settings, work)
        pairs: Any = settings.pairs
        self._pairs = pairs
        self._generator: Generator = load(GENERATORS.find(pairs.generator).make)(pairs, work)

    @override
    def choose(self, inputs: Inputs, chunk_ids: Int64s) -> Int64s:
        is_choice = self._pairs.passages is not None
        chosen = choose_passages(inputs, chunk_ids, is_choice=is_choice)
        self._chunks, self._answers = len(chunk_ids), [""] * len(chosen)
        if not self._generator.finds_answers:
            answers = inputs.partition(1 + is_choice).files["parquet"]
            self._answers = parquet.read(answers, columns=["found"])["found"].to_pylist()
        return chosen

    @override
    def compute(self, passages: Sequence[Passage], places: Int64s) -> list[Any]:
        answers = [[Span(*span) for span in json.loads(self._answers[place] or "[]")] for place in places.tolist()]
        found = self._generator.generate(passages, answers)
        return [[_pack(one) for one in found], [json.dumps(one.problems) for one in found]]

    @override
    def usable(self, rows: pa.Table) -> pa.Table:
        # Where something failed, the next build tries again.
        return rows.filter(pc.equal(rows["problems"], "[]"))

    @override
    def counts(self) -> dict[str, int]:
        return self._generator.counts()

    @override
    def finish(self, rows: pa.Table, inputs: Inputs, output: Output, spent: Counter[str]) -> Stats:
        empty = np.array([found == "[]" for found in rows["found"].to_pylist()], np.bool_)
        problems = {
            chunk_id: json.loads(said)
            for chunk_id, said in zip(rows["chunk_id"].to_pylist(), rows["problems"].to_pylist(), strict=True)
            if said != "[]"
        }
        bad, doc_ids = _bad_rows(problems, inputs)
        output.errors(bad, of="qa_pairs", doc_ids=doc_ids)
        without = set(rows["chunk_id"].filter(empty).to_pylist())
        stats = GenerateStats(
            chunks=self._chunks,
            asked=len(rows),
            without=len(without),
            failed=len(without & problems.keys()),
            errors=len(bad),
            counts=spent,
        )
        if _exceeds(self._pairs, stats, complete=False):
            # Not finished, so that the next build tries again what failed.
            output.checkpoint.save()
            raise _too_many(self._pairs, stats, f": {bad[0].source} line {bad[0].line}: {bad[0].reason}")
        return stats

    @override
    @classmethod
    def probe(cls, settings: GenerateSettings, store: Store) -> list[str]:
        pairs: Any = settings.pairs
        with GENERATORS.calling(pairs.generator) as entry:
            warnings: list[str] = load(entry.make).probe(pairs, Work(1, store))
            return warnings

    @override
    @classmethod
    def check(cls, finished: Finished) -> None:
        _check_errors(finished, complete=False)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        _check_errors(finished, complete=True)
        stats = finished.total(GenerateStats)
        warnings = []
        if stats.errors:
            warnings.append(f"{stats.errors} failures{finished.first_error()}; the table errors has them all")
        if stats.without:
            warnings.append(f"{stats.without} of {stats.asked} chunks have no candidate")
        return [f"qa_pairs: {warning}" for warning in warnings]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        stats = finished.total(GenerateStats)
        chosen = f"{stats.asked} of {stats.chunks} chunks"
        spent = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(stats.counts.items()) if count)
        return f"{chosen}, {spent}" if spent else chosen


def unpack(found: str) -> list[Candidate]:
    """Return the candidates of a row of `generations`."""
    return [Candidate(question, Span(*answer), score) for question, answer, score in json.loads(found)]


def _pack(generated: Generated) -> str:
    return json.dumps([astuple(candidate) for candidate in generated.candidates])


def _bad_rows(problems: dict[int, list[str]], inputs: Inputs) -> tuple[list[BadRow], list[int]]:
    """Return what failed, by chunk, as rows of `errors`, and the document of each."""
    if not problems:
        return [], []
    columns = ["chunk_id", "doc_id", "text"]
    chunks = parquet.read(inputs.partition(0).files["parquet"], columns=columns)
    documents = parquet.read(inputs.partition(len(inputs.unit.inputs) - 1).files["parquet"], columns=DOCUMENT_COLUMNS)
    origins = {row["doc_id"]: (row["source"], row["line"]) for row in documents.to_pylist()}
    failed = [
        (doc_id, text, reason)
        for chunk_id, doc_id, text in zip(*(column.to_pylist() for column in chunks), strict=True)
        for reason in problems.get(chunk_id, ())
    ]
    rows = [BadRow.of(*origins[doc_id], reason, text) for doc_id, text, reason in failed]
    return rows, [doc_id for doc_id, _, _ in failed]


def _check_errors(finished: Finished, *, complete: bool) -> None:
    settings: Any = finished.step.settings
    stats = finished.total(GenerateStats)
    if _exceeds(settings.pairs, stats, complete=complete):
        raise _too_many(settings.pairs, stats, finished.first_error())


def _exceeds(pairs: Any, stats: GenerateStats, *, complete: bool) -> bool:
    return exceeds(pairs.max_errors, stats.failed, stats.asked, complete=complete)


def _too_many(pairs: Any, stats: GenerateStats, first: str) -> SourceError:
    failures = f"{stats.failed} of {stats.asked} chunks failed, more than `qa_pairs.max_errors: {pairs.max_errors}`"
    unusable = " (where answers cannot be used, with another `qa_pairs.retry`)" if hasattr(pairs, "retry") else ""
    remedy = f"correct that and build again{unusable}, or raise `max_errors`"
    return SourceError(f"qa_pairs: {failures}{first}; {remedy}")
