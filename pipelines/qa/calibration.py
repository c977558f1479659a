"""Calibration of an index of pairs: its answers to questions of known answers give a threshold of confidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.pair_settings import AbstainSettings, QASettings
from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.retrievers.qa.abstention import Calibrated
from mnemodex.retrievers.qa.evaluation import judge_guesses
from mnemodex.retrievers.queries import Query, read_queries, search_each
from mnemodex.retrievers.risk_coverage import choose_threshold, risk_coverage
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Step
from mnemodex.schemas.store.columns import to_table
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.risk_coverage import RiskCoverage
    from mnemodex.schemas.manifest import Abstention, Stats
    from mnemodex.schemas.recipe import Recipe

_FEW = 20
"""Fewer questions than this get a warning: a threshold that is chosen on them may be chance."""


class CalibrationSettings(Spec):
    """An index of pairs, and when it is to abstain."""

    index: SearchedIndex
    abstain: AbstainSettings


class CalibrationStats(Calibrated):
    """The calibration of an index, and the questions of the file that have no answers."""

    without_answers: int = 0


class CalibrateOp(Op):
    """Asks an index the questions of a file, and writes the risk of its answers at every coverage.

    The version is raised when an index answers otherwise with the same settings.
    """

    Settings = CalibrationSettings
    version = 2
    settings: CalibrationSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        abstain, index = self.settings.abstain, self.settings.index
        queries = answered_queries(abstain.queries, at=f"indexes.{index.name}.abstain.queries")
        retriever: Any = index.open(inputs, 0, self.work).retriever(index.name)
        predictions: list[Prediction] = search_each(
            queries, lambda asked, where: retriever.predictions(asked, where=where)
        )
        curve = risk_coverage(*judge_guesses(predictions, queries), len(queries))
        table = spec_of(TableKey("calibration"))
        output.write(table, to_table(list(curve), table.schema))
        abstention = _choose(curve, abstain, len(queries), at=f"indexes.{index.name}.abstain")
        return CalibrationStats(
            abstention=abstention, without_answers=len(read_queries(Path(abstain.queries))) - len(queries)
        )

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        stats = finished.parts[0].stats.of(CalibrationStats)
        known, at = stats.abstention, f"indexes.{settings.index.name}.abstain"
        warnings = []
        if stats.without_answers:
            warnings.append(f"{stats.without_answers} questions of {settings.abstain.queries} have no answers")
        if known.queries < _FEW:
            warnings.append(
                f"{settings.abstain.queries} has {known.queries} questions with answers, too few for a threshold that "
                f"holds for others: the risk is {known.risk_low:.2f} to {known.risk_high:.2f}; give {_FEW} at least"
            )
        if settings.abstain.coverage is not None and known.coverage < settings.abstain.coverage:
            warnings.append(f"only {known.coverage:.3f} of the questions find a pair at all; all of these are answered")
        return [f"{at}: {warning}" for warning in warnings]

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        known = finished.parts[0].stats.of(CalibrationStats).abstention
        return (
            f"of {known.queries} questions it answers {known.coverage:.3f}, {known.risk:.3f} of them wrong (95 % "
            f"interval {known.risk_low:.3f} to {known.risk_high:.3f})"
        )


def answered_queries(path: str, *, at: str) -> list[Query]:
    """Return the questions of a file whose answers are known; a `QueryError` of the key `at` says that none is."""
    queries = [query for query in read_queries(Path(path)) if query.answers]
    if not queries:
        raise QueryError(f'{at}: {path}: no question has answers; give them as {{"id", "question", "answers"}}')
    return queries


def calibration_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Calibrate an index of pairs that abstains."""
    settings = context.recipe.indexes[name]
    if not isinstance(settings, QASettings) or settings.abstain is None:
        return
    abstain = settings.abstain
    # What it abstains from is found out here, and only then passed on.
    alone = settings.model_copy(update={"abstain": None, "fallback": None})
    index = SearchedIndex.of(_with(context.recipe, name, alone), name, at=name)
    aims = abstain.model_dump(include={"coverage", "risk"})
    yield Step(
        f"{name}: calibration",
        "mnemodex.pipelines.qa.calibration:CalibrateOp",
        index.reads(),
        (TableKey("calibration", name),),
        CalibrationSettings(index=index, abstain=abstain),
        identity=[index.decides(context.digest), context.content(abstain.queries), aims],
        resources=MODEL,
    )


def _with(recipe: Recipe, name: str, settings: QASettings) -> Recipe:
    return recipe.model_copy(update={"indexes": {**recipe.indexes, name: settings}})


def _choose(curve: RiskCoverage, abstain: AbstainSettings, queries: int, *, at: str) -> Abstention:
    """Return the threshold that the recipe asks for."""
    if not len(curve.threshold):
        raise QueryError(f"{at}: none of the {queries} questions of {abstain.queries} finds a pair; check that file")
    return choose_threshold(curve, queries, coverage=abstain.coverage, risk=abstain.risk, at=at)
