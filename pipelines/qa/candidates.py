"""Candidates of one partition: which of them are pairs, and why the others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.qa import QUESTION_MARKS, normalize_question
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.qa.generate import unpack
from mnemodex.pipelines.qa.lines import pair_id
from mnemodex.retrievers.readers.answers import normalize_answer
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.printable import without_acting
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column, to_nullable
from mnemodex.schemas.tables import QA_CANDIDATES, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.qa.generators.base import Candidate

NO_QUESTION = "the question has no letters"
ECHO = "the question repeats its passage"
NO_ANSWER = "the answer is not in its passage"
EMPTY_ANSWER = "the answer has no word that counts"
GIVEN_AWAY = "the question holds its answer"
REPEATED = "the question and its answer repeat others of the chunk"
BEYOND = "beyond max_pairs"
CHUNK_COLUMNS = ("chunk_id", "doc_id", "text")
_SPEC = spec_of(QA_CANDIDATES)


class CandidateSettings(Spec):
    """Most pairs of a chunk, what made them, and the salt of ids."""

    max_pairs: int
    generator: str
    id_salt: str


class CandidateStats(Stats):
    """Candidates that are left out, by reason, and those whose questions had control characters, which are removed."""

    dropped: Counter[str] = Field(default_factory=Counter)
    cleaned: int = 0


class CandidatesOp(Op):
    """Writes the candidates of one partition; the inputs are what was generated, chunks, and their scores if any."""

    Settings = CandidateSettings
    seconds_per_megabyte = 5.0
    version = 2
    settings: CandidateSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        generated = parquet.read(inputs.partition(0).files["parquet"], columns=["chunk_id", "found"])
        chunks = parquet.read(inputs.partition(1).files["parquet"], columns=CHUNK_COLUMNS)
        places = find_ids(numbers(chunks["chunk_id"]), numbers(generated["chunk_id"]))
        chunks = chunks.take(to_column(places, pa.int64()))
        scores: list[float | None] = [None] * len(generated)
        if len(inputs.unit.inputs) > 2:
            scores = parquet.column(inputs.partition(2).files["parquet"], "score")[places].tolist()
        rows: list[tuple[Any, ...]] = []
        cleaned = 0
        columns = (chunks[name].to_pylist() for name in CHUNK_COLUMNS)
        of_chunks = zip(generated["found"].to_pylist(), scores, *columns, strict=True)
        for found, score, chunk_id, doc_id, text in of_chunks:
            candidates = unpack(found)
            questions = [without_acting(candidate.question) for candidate in candidates]
            for number, question in enumerate(questions):
                cleaned += question != " ".join(candidates[number].question.split())
                candidates[number] = replace(candidates[number], question=question)
            judged = judge(candidates, text, self.settings.max_pairs)
            rows += [self._row(chunk_id, doc_id, ordinal, score, one) for ordinal, one in enumerate(judged)]
        values: list[Any] = list(zip(*rows, strict=True)) or [()] * len(_SPEC.schema)
        arrays = [to_nullable(column, field.type) for column, field in zip(values, _SPEC.schema, strict=True)]
        output.write(_SPEC, pa.table(arrays, schema=_SPEC.schema))
        return CandidateStats(dropped=Counter(row[-1] for row in rows if row[-1] is not None), cleaned=cleaned)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = finished.total(CandidateStats)
        dropped, warnings = stats.dropped, []
        kinds = ", ".join(f"{count}: {reason}" for reason, count in dropped.items() if reason != BEYOND)
        if kinds:
            unusable = dropped.total() - dropped[BEYOND]
            warnings.append(
                f"{unusable} of {finished.rows} candidates are unusable ({kinds}); the table qa_candidates has them all"
            )
        if stats.cleaned:
            warnings.append(f"{stats.cleaned} of {finished.rows} questions had control characters, which are removed")
        return [f"qa_pairs: {warning}" for warning in warnings]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        dropped = finished.total(CandidateStats).dropped
        return f"{finished.rows - dropped.total()} of {finished.rows} kept, {dropped[BEYOND]} {BEYOND}"

    def _row(self, chunk_id: int, doc_id: int, ordinal: int, score: float | None, judged: Judged) -> tuple[Any, ...]:
        candidate, answer, reason = judged
        return (
            pair_id(generated_key(chunk_id, ordinal), candidate.question, [answer], self.settings.id_salt),
            chunk_id,
            doc_id,
            ordinal,
            candidate.question,
            answer,
            candidate.answer.start,
            candidate.answer.kind,
            self.settings.generator,
            score,
            candidate.answer.score,
            candidate.score,
            None,
            reason is None,
            reason,
        )


class Judged(NamedTuple):
    """A candidate, its answer as the chunk has it, and why it is no pair; None for one that is."""

    candidate: Candidate
    answer: str
    reason: str | None


def generated_key(chunk_id: int, ordinal: int) -> str:
    """Return the key of a generated pair."""
    return f"{chunk_id}/{ordinal}"


def judge(candidates: Sequence[Candidate], text: str, max_pairs: int) -> list[Judged]:
    """Judge the candidates of one chunk, best first; those beyond `max_pairs` usable ones are none."""
    passage = normalize_question(text)
    seen: set[tuple[str, str]] = set()
    judged = []
    for candidate in candidates:
        span = candidate.answer
        answer = text[span.start : span.end] if 0 <= span.start < span.end <= len(text) else ""
        form = normalize_question(candidate.question), normalize_answer(answer)
        if (reason := _defect(candidate.question, answer, *form, passage)) is None:
            reason = REPEATED if form in seen else BEYOND if len(seen) == max_pairs else None
        if reason is None:
            seen.add(form)
        judged.append(Judged(candidate, answer, reason))
    return judged


def _defect(question: str, answer: str, question_form: str, answer_form: str, passage: str) -> str | None:
    """Return why a question and its answer, which are also given in their normal forms, are no pair by themselves."""
    if not any(map(str.isalpha, question)):
        return NO_QUESTION
    # A passage may well ask questions.
    asks = question.rstrip().endswith(tuple(QUESTION_MARKS))
    if passage and (passage in question_form or (question_form in passage and not asks)):
        return ECHO
    if not answer:
        return NO_ANSWER
    if not answer_form:
        return EMPTY_ANSWER
    return GIVEN_AWAY if f" {answer_form} " in f" {normalize_answer(question)} " else None
