"""Filters of generated pairs: a reader must answer the question as the pair does (PAQ; Lewis et al., 2021)."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.models.chat import Chat
from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.pipelines.kept_chat import KeptChat
from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.pipelines.ops.base import Finished, Op, Work
from mnemodex.pipelines.qa.verdicts import FAILED, VERDICTS, former_verdicts, to_verdicts, verdicts_of, with_verdicts
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.retrievers.readers.chat_reader import ChatReader
from mnemodex.retrievers.readers.passage_reader import open_reader
from mnemodex.retrievers.readers.rule_reader import RuleReader
from mnemodex.schemas.errors import ChatServerError, NoAnswerError, SourceError, TooLongError
from mnemodex.schemas.limits import MaxErrors, exceeds
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.pair_sections import PairFilter, RulePairs
from mnemodex.schemas.sections import SPACY_MODEL
from mnemodex.schemas.spec import ModelRef, RunOnly, Spec
from mnemodex.schemas.steps import Read, Resources, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, QA_CANDIDATES, TableKey, spec_of

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.readers.passage_reader import PassageReader, Passages
    from mnemodex.schemas.pair_sections import AnswerSpans, GeneratedPairs
    from mnemodex.schemas.store.store import Store

UNFILTERED = TableKey("qa_candidates", draft=True)
"""The candidates before they are filtered."""
CHUNK_COLUMNS = ("chunk_id", "title", "text")
_WINDOW = 64
"""Candidates that are read at once, and that a killed worker loses."""


class FilterSettings(Spec):
    """A filter, the index that it searches, and the spaCy model of the reader by rules where no other one is named."""

    filter: PairFilter
    index: SearchedIndex | None = None
    spacy: Annotated[str, ModelRef("spacy")] | None = None
    max_errors: Annotated[MaxErrors, RunOnly()]


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
        self._searched: _Searched | None = None

    @cached_property
    def _reader(self) -> PassageReader:
        """The reader; its model is loaded by the first unit that has something to judge."""
        return reader_of(self.settings, self.work)

    @property
    def _unread(self) -> int:
        """Passages that the reader left out so far; some readers leave none out."""
        return getattr(self._reader, "dropped", 0) if "_reader" in vars(self) else 0

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
        verdicts, passages, before = [known], self._open(inputs), self._unread
        faults: list[NoAnswerError] = []
        rows = candidates.select(["pair_id", "chunk_id", "question", "answer"])
        for start in range(0, len(left), _WINDOW):
            window = rows.take(to_column(open_rows[left[start : start + _WINDOW]], pa.int64()))
            questions = window["question"].to_pylist()
            texts, near = passages.find(questions, numbers(window["chunk_id"]))
            answers = self._reader.read(questions, texts)
            faults += [a for a in answers if isinstance(a, NoAnswerError) and not isinstance(a, TooLongError)]
            batch = to_verdicts(window, answers, near)
            output.checkpoint.add(batch)
            verdicts.append(pa.Table.from_batches([batch]))
            output.progress(len(ids) - len(left) + start + len(window))
        if exceeds(limit := self.settings.max_errors, len(faults), len(ids)):
            # Not finished, so that the next build asks again.
            raise ChatServerError(
                f"qa_pairs.filter: the reader failed at {len(faults)} of {len(ids)} candidates of a partition, more "
                f"than `qa_pairs.max_errors: {limit}`: {faults[0]}. Correct that, and build again: verdicts are kept"
            )
        found = verdicts_of(pa.concat_tables(verdicts), ids)
        output.write(spec_of(QA_CANDIDATES), with_verdicts(candidates, open_rows, found))
        searched = Counter(found["near"].to_pylist())
        return FilterStats(
            judged=len(found),
            kept=found["reason"].null_count,
            failed=pc.sum(pc.starts_with(found["reason"], FAILED)).as_py() or 0,
            near=searched[True],
            far=searched[False],
            unread=self._unread - before,
            reused=len(ids) - len(left),
        )

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

    def _open(self, inputs: Inputs) -> _Passages:
        """Return what gives the passages of a partition; an index is the same for all of them."""
        if self.settings.index is None:
            return _OwnChunks(inputs)
        if self._searched is None:
            memory = self.settings.index.open(inputs, 3, self.work)
            self._searched = _Searched(memory.retriever(self.settings.index.name), self.settings.filter.k)
        return self._searched


class _Passages(Protocol):
    """Gives what is read for candidates, and whether the chunk of each is among it, if it is looked for."""

    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]: ...


class _OwnChunks(_Passages):
    """The chunk of each candidate, for the local filter."""

    def __init__(self, inputs: Inputs) -> None:
        self._chunks = parquet.read(inputs.partition(1).files["parquet"], columns=CHUNK_COLUMNS)
        self._ids = numbers(self._chunks["chunk_id"])

    @override
    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]:
        own = self._chunks.take(to_column(find_ids(self._ids, chunk_ids), pa.int64()))
        texts = zip(own["title"].to_pylist(), own["text"].to_pylist(), strict=True)
        return [[text] for text in texts], [None] * len(questions)


class _Searched(_Passages):
    """The k best hits of an index for each question, for the global filter."""

    def __init__(self, retriever: Retriever, k: int) -> None:
        self._retriever, self._k = retriever, k

    @override
    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]:
        hits = self._retriever.search(questions, self._k)
        near = (hits.ids == chunk_ids[:, None]).any(axis=1)
        return [[(chunk.title, chunk.text) for chunk in row] for row in hits.chunks()], [*near.tolist()]


def filter_step(context: PlanContext, pairs: GeneratedPairs, chosen: PairFilter) -> Step:
    """Return the step that filters the candidates of a section of pairs."""
    index = None
    if chosen.by == "global":
        index = SearchedIndex.of(context.recipe, str(chosen.index), at="qa_pairs.filter.index")
    by_rules = _by_rules(chosen)
    settings = FilterSettings(
        filter=chosen,
        index=index,
        spacy=_spacy_model(pairs) if by_rules else None,
        max_errors=pairs.max_errors,
    )
    reads = [Read(UNFILTERED), Read(CHUNKS, columns=CHUNK_COLUMNS)]
    if index is not None:
        reads += [Read(DOCUMENTS, columns=("doc_id",)), *index.reads()]
    needs_model = not by_rules or index is not None
    return Step(
        "qa_pairs: filter",
        "mnemodex.pipelines.qa.filter:FilterOp",
        tuple(reads),
        (QA_CANDIDATES,),
        settings,
        identity=[
            chosen.identity(digest=context.digest),
            settings.identity(digest=context.digest)["spacy"],
            index and index.decides(context.digest),
        ],
        resources=MODEL if needs_model else Resources(),
        reuse="pair_id",
    )


def check_filter(pairs: GeneratedPairs) -> None:
    """Refuse a filter whose reader needs what is not installed, with a `MissingExtraError` or a `ModelError`."""
    if pairs.filter is None:
        return
    if pairs.filter.server is not None:
        need("openai", extra="llm")
    elif _by_rules(pairs.filter):
        need("spacy", extra="openie")
        spacy_folder(_spacy_model(pairs))


def _by_rules(chosen: PairFilter) -> bool:
    return chosen.model is None and chosen.server is None


def _spacy_model(pairs: GeneratedPairs) -> str:
    """Return the spaCy model that the section names, or the default one."""
    answers: AnswerSpans | None = getattr(pairs, "answers", None)
    named = pairs.model if isinstance(pairs, RulePairs) else answers.spacy if answers is not None else None
    return named or SPACY_MODEL


def reader_of(settings: FilterSettings, work: Work) -> PassageReader:
    """Return the reader of a filter; its model is loaded, and its server not asked."""
    chosen = settings.filter
    if chosen.server is not None:
        server = chosen.server
        chat = Chat(server.base_url, server.model, api_key_env=server.api_key_env)
        return ChatReader(KeptChat(chat, server.model, {}, work.store))
    if chosen.model is not None:
        return open_reader(chosen.model, threads=work.cpus)
    return RuleReader(str(settings.spacy))
