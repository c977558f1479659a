"""The steps of question-answer pairs: from a file or a generator to pairs, questions and the vectors of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.dense.factory import check_settings
from mnemodex.indexers.pair_settings import QASettings
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.qa.generation import generation_steps
from mnemodex.pipelines.qa.lines import PairSettings, SortSettings
from mnemodex.pipelines.qa.pairs import QUESTION_PARTS
from mnemodex.pipelines.vectors.encode import encode_step
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.pair_sections import GeneratedPairs, PairFile
from mnemodex.schemas.steps import All, Each, Files, Range, Read, Step
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, ERRORS, QA_PAIRS, QUESTION_TEXTS, QUESTIONS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe

_LINES = TableKey("pair_lines", draft=True)
_RANGE_ROWS = 1 << 18
"""Pairs of one range of ids."""
_QA = "mnemodex.pipelines.qa"


def check_index(index: str, settings: QASettings, recipe: Recipe) -> None:
    """Refuse an index without pairs, or with a factory string that is none."""
    if recipe.qa_pairs is None:
        raise RecipeError(
            "needs question-answer pairs: add `qa_pairs: {from: FILE}`, or make some: `qa_pairs: {generator: rules}`"
        )
    check_settings(index, settings, recipe)


def qa_pair_steps(context: PlanContext, tombstones: Sequence[str]) -> Iterator[Step]:
    """Make the pairs of every partition: of a file, or by a generator. Tombstones are given by their places."""
    pairs = context.recipe.qa_pairs
    if isinstance(pairs, GeneratedPairs):
        return generation_steps(context, pairs)
    assert isinstance(pairs, PairFile)  # noqa: S101 - without pairs this is not declared
    return _file_steps(context, pairs, tombstones)


def _file_steps(context: PlanContext, pairs: PairFile, tombstones: Sequence[str]) -> Iterator[Step]:
    """Sort the pairs of a file by their documents, and tie those of every partition to its chunks."""
    settings = PairSettings(file=pairs, id_salt=context.recipe.id_salt)
    identity = [settings.identity(), context.content(pairs.path), *tombstones]
    sorting = SortSettings(**dict(settings), tombstones=tuple(tombstones))
    documents = (Read(DOCUMENTS, All(), ("doc_id", "key")),)
    yield Step("qa_pairs: lines", f"{_QA}.lines:SortPairs", documents, (_LINES, ERRORS), sorting, identity=identity)
    reads = (Read(_LINES, Files()), Read(CHUNKS, Each()))
    writes = (QA_PAIRS, QUESTION_PARTS)
    yield Step("qa_pairs", f"{_QA}.pairs:PairsOp", reads, writes, settings, identity=settings.identity())


def question_steps(context: PlanContext) -> Iterator[Step]:
    """Gather the questions of all pairs, and encode them for the indexes."""
    recipe = context.recipe
    # A power of two, so that growth halves ranges and moves nothing else.
    ranges = Range(1 << (context.rows(QA_PAIRS) // _RANGE_ROWS).bit_length())
    reads = (Read(QUESTION_PARTS, ranges), Read(QA_PAIRS, ranges))
    yield Step("questions", f"{_QA}.questions:QuestionsOp", reads, (QUESTIONS, QUESTION_TEXTS), NoSettings())
    indexes = [index for index in recipe.indexes.values() if isinstance(index, QASettings)]
    for embed in sorted({str(index.embed) for index in indexes if index.key == "question"}):
        yield encode_step(context, embed, "questions")
    joint = {str(index.embed) for index in indexes if index.key == "question_answer" or index.compares_answers}
    for embed in sorted(joint):
        yield encode_step(context, embed, "question_answers")
