"""Filters of generated pairs: a reader must answer the question as the pair does (PAQ; Lewis et al., 2021)."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.pipelines.ops.base import Finished, Op, Work
from mnemodex.pipelines.qa.reading import FilterSettings, OwnChunks, Searched, reader_of
from mnemodex.pipelines.qa.verdicts import FAILED, VERDICTS, former_verdicts, to_verdicts, verdicts_of, with_verdicts
from mnemodex.schemas.errors import ChatServerError, NoAnswerError, SourceError, TooLongError
from mnemodex.schemas.limits import exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import QA_CANDIDATES, spec_of

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.qa.reading import PassageSource
    from mnemodex.retrievers.readers.passage_reader import PassageReader
    from mnemodex.schemas.store.store import Store

_WINDOW = 64
"""Candidates that are read at once, and that a killed worker loses."""


class FilterStats(Stats):
    """Candidates that were to be judged, those that are kept, and those at which the reader failed.

    Of those that this build judged by an index, `near` had their chunk among the passages, and `far` had not. The
    reader left `unread` passages out, which are longer together than its model reads.
    """

    judged: int = 0
    kept: int = 0
    failed: int = 0
    near: int = 0
    far: int = 0
    unread: int = 0


class FilterOp(Op):
    """Judges the candidates of one partition that are kept so far.

    The inputs are the candidates, their chunks, and for the global filter their documents and what its index reads.
    What was judged in the current snapshot is not judged again, though an index finds other passages when it grows;
    but for what the reader failed at.
    """

    Settings = FilterSettings
    seconds_per_megabyte = 500.0
    settings: FilterSettings

    def __init__(self, settings: FilterSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._searched: Searched | None = None

    @cached_property
    def _reader(self) -> PassageReader:
        """The reader; its model is loaded by the first unit that has something to judge."""
        return reader_of(self.settings, self.work)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        candidates = parquet.read(inputs.partition(0).files["parquet"])
        open_rows = np.flatnonzero(numbers(candidates["kept"].cast(pa.int8())))
        ids = numbers(candidates["pair_id"])[open_rows]
        # Of a try that was stopped, perhaps by what the reader failed at, which is tried again.
        resumed = pa.Table.from_batches(output.checkpoint.load(), VERDICTS)
        resumed = resumed.filter(pc.invert(pc.starts_with(resumed["reason"], FAILED).fill_null(False)))
        known = pa.concat_tables([former_verdicts(inputs.former, ids), resumed])
        left = np.flatnonzero(~np.isin(ids, numbers(known["pair_id"])))
        rows = candidates.select(["pair_id", "chunk_id", "question", "answer"])
        judged = self._judge(rows.take(to_column(open_rows[left], pa.int64())), len(ids) - len(left), inputs, output)
        if exceeds(limit := self.settings.max_errors, len(judged.faults), len(ids)):
            # Not finished, so that the next build asks again.
            output.checkpoint.save()
            raise ChatServerError(
                f"qa_pairs.filter: the reader failed at {len(judged.faults)} of {len(ids)} candidates of a partition, "
                f"more than `qa_pairs.max_errors: {limit}`: {judged.faults[0]}. Correct that, and build again: "
                "verdicts are kept"
            )
        found = verdicts_of(pa.concat_tables([known, judged.verdicts]), ids)
        output.write(spec_of(QA_CANDIDATES), with_verdicts(candidates, open_rows, found))
        searched = Counter(found["near"].to_pylist())
        return FilterStats(
            judged=len(found),
            kept=found["reason"].null_count,
            failed=pc.sum(pc.starts_with(found["reason"], FAILED)).as_py() or 0,
            near=searched[True],
            far=searched[False],
            unread=judged.unread,
            reused=len(ids) - len(left),
        )

    def _judge(self, rows: pa.Table, done: int, inputs: Inputs, output: Output) -> _Judged:
        """Judge candidates, after `done` other ones of the partition; nothing is loaded where there are none."""
        if not len(rows):
            return _Judged(VERDICTS.empty_table(), [], 0)
        passages, reader = self._open(inputs), self._reader
        # Some readers leave none out.
        before = getattr(reader, "dropped", 0)
        verdicts: list[pa.RecordBatch] = []
        faults: list[NoAnswerError] = []
        for start in range(0, len(rows), _WINDOW):
            window = rows.slice(start, _WINDOW)
            questions = window["question"].to_pylist()
            texts, near = passages.find(questions, numbers(window["chunk_id"]))
            answers = reader.read(questions, texts)
            faults += [a for a in answers if isinstance(a, NoAnswerError) and not isinstance(a, TooLongError)]
            verdicts.append(to_verdicts(window, answers, near))
            output.checkpoint.add(verdicts[-1])
            output.progress(done + start + len(window))
        return _Judged(pa.Table.from_batches(verdicts), faults, getattr(reader, "dropped", 0) - before)

    @override
    @classmethod
    def probe(cls, settings: FilterSettings, store: Store) -> list[str]:
        if settings.filter.server is not None:
            passage = ("Ada Stone", "Ada Stone keeps the lighthouse of Dunmarrow.")
            reader = reader_of(settings, Work(1, store))
            (answer,) = reader.read(["Who keeps the lighthouse of Dunmarrow?"], [[passage]])
            if isinstance(answer, NoAnswerError):
                raise ChatServerError(f"qa_pairs.filter: {answer}. Nothing is computed: correct that, and build again")
        return []

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        stats = finished.total(FilterStats)
        warnings = []
        if stats.failed:
            failures = f"the reader failed at {stats.failed} of {stats.judged} candidates"
            if exceeds(settings.max_errors, stats.failed, stats.judged):
                raise SourceError(f"qa_pairs: {failures}, more than `qa_pairs.max_errors: {settings.max_errors}`")
            warnings.append(f"{failures}; the column `reason` of the table qa_candidates says why")
        if stats.unread:
            warnings.append(
                f"{stats.unread} passages are left out of what the filter's model is given, which reads no more at "
                "once; take fewer hits (`k`), smaller chunks, or a model that reads more"
            )
        return [f"qa_pairs: {warning}" for warning in warnings]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        stats = finished.total(FilterStats)
        if not stats.judged:
            return ""
        said = f"{stats.kept} of {stats.judged} kept ({stats.kept / stats.judged:.1%})"
        searched = stats.near + stats.far
        return f"{said}; the chunk was among the passages of {stats.near / searched:.1%}" if searched else said

    def _open(self, inputs: Inputs) -> PassageSource:
        """Return what gives the passages of a partition; an index is the same for all of them."""
        if self.settings.index is None:
            return OwnChunks(inputs)
        if self._searched is None:
            memory = self.settings.index.open(inputs, 3, self.work)
            self._searched = Searched(memory.retriever(self.settings.index.name), self.settings.filter.k)
        return self._searched


class _Judged(NamedTuple):
    """Verdicts, what the reader failed at, and how many passages it left out."""

    verdicts: pa.Table
    faults: list[NoAnswerError]
    unread: int
