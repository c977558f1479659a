"""Which chunks are asked about, and what is asked for: the first steps of PAQ (Lewis et al., 2021)."""

from __future__ import annotations

import json
from dataclasses import astuple
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.pipelines.qa.chunks import ChunkOp
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.kinds import load
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.pair_sections import AnswerSpans, PassageChoice
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import ANSWER_SPANS, PASSAGE_SCORES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    import pyarrow as pa

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.base import Finished
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.qa.generators.base import AnswerFinder, Passage, PassageScorer

SCORER = "mnemodex.pipelines.qa.generators.classifier:PassageClassifier"
FINDERS = {
    "spacy": "mnemodex.pipelines.qa.generators.spans:SpacyFinder",
    "model": "mnemodex.pipelines.qa.generators.spans:SpanFinder",
}
"""Finders of answers, by the recipe's `answers.by`."""


class AnswerSettings(Spec):
    """How answers are found, and the least score of the chunks that they are found in; None for all chunks."""

    answers: AnswerSpans
    min_score: float | None


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
        scorer: PassageScorer = load(SCORER)(self.settings, self.work)
        return scorer

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
        cut = sum(part.stats.of(PassageStats).cut for part in finished.parts)
        settings: Any = finished.step.settings
        return [f"qa_pairs: {cut} chunks are longer than {settings.model} reads, and judged by their beginning"] * bool(
            cut
        )


class AnswersOp(ChunkOp):
    """Finds the answers in the chunks of one partition; a second input are the scores of these."""

    Settings = AnswerSettings
    table = ANSWER_SPANS
    seconds_per_megabyte = 35.0
    settings: AnswerSettings

    @cached_property
    def _finder(self) -> AnswerFinder:
        finder: AnswerFinder = load(FINDERS[self.settings.answers.by])(self.settings.answers, self.work)
        return finder

    @override
    def choose(self, inputs: Inputs, chunk_ids: Int64s) -> Int64s:
        return choose_passages(inputs, chunk_ids, self.settings.min_score)

    @override
    def compute(self, passages: Sequence[Passage], places: Int64s) -> list[Any]:
        return [[json.dumps(list(map(astuple, spans))) for spans in self._finder.find(passages)]]


def choose_passages(inputs: Inputs, chunk_ids: Int64s, min_score: float | None) -> Int64s:
    """Return the places of the chunks whose score, in the second input, is high enough; of all without a limit."""
    if min_score is None:
        return np.arange(len(chunk_ids))
    return np.flatnonzero(parquet.column(inputs.partition(1).files["parquet"], "score") >= min_score)
