"""Which chunks are asked about, and what is asked for: the first steps of PAQ (Lewis et al., 2021)."""

from __future__ import annotations

import json
from dataclasses import astuple
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.qa.chunks import ChunkOp
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.kinds import load
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.pair_sections import AnswerSpans, PassageChoice
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ANSWER_SPANS, CHOSEN_PASSAGES, PASSAGE_SCORES, spec_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.qa.generators.base import AnswerFinder, Passage, PassageScorer

SCORER = "mnemodex.pipelines.qa.generators.classifier:PassageClassifier"
FINDERS = {
    "spacy": "mnemodex.pipelines.qa.generators.spans:SpacyFinder",
    "model": "mnemodex.pipelines.qa.generators.spans:SpanFinder",
}
"""Finders of answers, by the recipe's `answers.by`."""


class PassageStats(Stats):
    """Chunks that were judged by their beginning, those that are taken over left out."""

    cut: int = 0


class PassagesOp(ChunkOp):
    """Scores the chunks of one partition."""

    Settings = PassageChoice
    table = PASSAGE_SCORES
    seconds_per_megabyte = 90.0
    settings: PassageChoice

    @cached_property
    def _scorer(self) -> PassageScorer:
        """The classifier; its model is loaded by the first chunk that no score is known of."""
        return open_scorer(self.settings, self.work)

    @override
    def compute(self, passages: Sequence[Passage], places: Int64s) -> list[Any]:
        scores = self._scorer.score(passages)
        if not np.isfinite(scores).all():
            raise NotFiniteError(
                f"qa_pairs.passages: model {self.settings.model!r} gives NaN or infinity for a chunk; take "
                "another model"
            )
        return [scores]

    @override
    def counts(self) -> dict[str, int]:
        return {"cut": self._scorer.cut}

    @override
    def finish(self, rows: pa.Table, inputs: Inputs, output: Output, spent: Counter[str]) -> Stats:
        return PassageStats(cut=spent["cut"])

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        cut = finished.total(PassageStats).cut
        settings: Any = finished.step.settings
        return [f"qa_pairs: {cut} chunks are longer than {settings.model} reads, and judged by their beginning"] * bool(
            cut
        )


class ChoiceOp(Op):
    """Chooses the chunks of one partition whose score is high enough, in a step of its own.

    So it decides which chunks a later step reads, and not what that step finds in one of them.
    """

    Settings = PassageChoice
    settings: PassageChoice

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        rows = parquet.read(inputs.partition(0).files["parquet"])
        is_chosen = pc.greater_equal(rows["score"], self.settings.min_score)
        output.write(spec_of(CHOSEN_PASSAGES), rows.filter(is_chosen).select(["chunk_id"]))
        return Stats()


class AnswersOp(ChunkOp):
    """Finds the answers in the chunks of one partition; a second input are those of them that are chosen."""

    Settings = AnswerSpans
    table = ANSWER_SPANS
    seconds_per_megabyte = 35.0
    settings: AnswerSpans

    @cached_property
    def _finder(self) -> AnswerFinder:
        return open_finder(self.settings, self.work)

    @override
    def choose(self, inputs: Inputs, chunk_ids: Int64s) -> Int64s:
        return choose_passages(inputs, chunk_ids, is_choice=len(inputs.unit.inputs) > 1)

    @override
    def compute(self, passages: Sequence[Passage], places: Int64s) -> list[Any]:
        return [[json.dumps(list(map(astuple, spans))) for spans in self._finder.find(passages)]]


def open_scorer(choice: PassageChoice, work: Work) -> PassageScorer:
    """Return the classifier of the recipe's `passages`, loaded."""
    scorer: PassageScorer = load(SCORER)(choice, work)
    return scorer


def open_finder(answers: AnswerSpans, work: Work) -> AnswerFinder:
    """Return the finder of the recipe's `answers`, loaded."""
    finder: AnswerFinder = load(FINDERS[answers.by])(answers, work)
    return finder


def choose_passages(inputs: Inputs, chunk_ids: Int64s, *, is_choice: bool) -> Int64s:
    """Return the places of the chunks that are in the second input, ascending; of all where that is no choice."""
    if not is_choice:
        return np.arange(len(chunk_ids))
    return find_ids(chunk_ids, parquet.column(inputs.partition(1).files["parquet"], "chunk_id"))
