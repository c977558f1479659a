"""The weights of a hybrid index, fitted on a query file in the build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.indexers.combined_settings import HybridSettings
from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.retrievers.fitting import Fitted, fit_weights
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.manifest import FittedWeights
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import IndexKey, Step
from mnemodex.schemas.store.local_files import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Stats

_FEW = 20
"""Fewer questions than this get a warning: weights that are fitted on them may be chance."""


class FittingSettings(Spec):
    """A hybrid index without what is no part of fusing, and the query file."""

    index: SearchedIndex
    queries: str


class FitOp(Op):
    """Asks the parts of a hybrid index the questions of a file, and chooses their weights.

    The version is raised when other weights are chosen from the same scores.
    """

    Settings = FittingSettings
    settings: FittingSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        index, path = self.settings.index, Path(self.settings.queries)
        at = f"indexes.{index.name}.queries: {path}"
        queries = read_queries(path)
        judged = [query for query in queries if query.gold]
        if not judged:
            raise QueryError(f'{at}: no question has gold; give it as {{"id", "question", "gold_ids"}}')
        retriever: Any = index.open(inputs, 0, self.work).retriever(index.name)
        fit = fit_weights(retriever, judged)
        if not fit.ndcg:
            raise QueryError(f"{at}: no gold document is found; check that its gold_ids are keys of this source")
        settings: Any = index.indexes[index.name]
        fitted = FittedWeights(
            weights=fit.weights,
            file_sha256=sha256(path),
            queries=len(judged),
            ndcg=fit.ndcg,
            parts=dict(zip(settings.of, fit.parts, strict=True)),
        )
        (output.folder / "weights.json").write_text(fitted.model_dump_json(), encoding="utf-8")
        return Fitted(fitted=fitted, without_gold=len(queries) - len(judged))

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        settings: Any = finished.step.settings
        stats = finished.parts[0].stats.of(Fitted)
        at, warnings = f"indexes.{settings.index.name}.queries: {settings.queries}", []
        if stats.without_gold:
            warnings.append(f"{at}: {stats.without_gold} questions have no gold and are not used")
        if stats.fitted.queries < _FEW:
            warnings.append(f"{at}: weights are fitted on {stats.fitted.queries} questions; give {_FEW} at least")
        return warnings

    @override
    @classmethod
    def note(cls, finished: Finished) -> str:
        fitted = finished.parts[0].stats.of(Fitted).fitted
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(fitted.parts, fitted.weights, strict=True))
        best = max(fitted.parts.values())
        return f"{weights}: nDCG@10 {fitted.ndcg:.3f} over {fitted.queries} questions, the best part's is {best:.3f}"


def fitting_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Fit the weights of a hybrid index that names a query file.

    Raises:
        RecipeError: a part cannot be searched in a build.
    """
    settings = context.recipe.indexes[name]
    if not isinstance(settings, HybridSettings) or settings.queries is None:
        return
    alone = settings.model_copy(update={"weights": None, "queries": None, "recency": None})
    recipe = context.recipe.model_copy(update={"indexes": {**context.recipe.indexes, name: alone}})
    index = SearchedIndex.of(recipe, name, at=f"indexes.{name}.queries")
    yield Step(
        f"{name}: weights",
        "mnemodex.pipelines.indexes.fitting:FitOp",
        index.reads(),
        (IndexKey(name, "weights"),),
        FittingSettings(index=index, queries=settings.queries),
        identity=[index.decides(context.digest), context.content(settings.queries)],
        resources=MODEL,
    )
