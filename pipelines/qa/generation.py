"""The steps of generated pairs: passages, answers in them, questions about these, and which of them are pairs (PAQ)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.pipelines.qa.candidates import CHUNK_COLUMNS as JUDGED_COLUMNS
from mnemodex.pipelines.qa.candidates import CandidateSettings
from mnemodex.pipelines.qa.chunks import CHUNK_COLUMNS
from mnemodex.pipelines.qa.generate import DOCUMENT_COLUMNS, GenerateSettings
from mnemodex.pipelines.qa.pairs import QUESTION_PARTS, SaltSettings
from mnemodex.pipelines.qa.passages import FINDERS, SCORER
from mnemodex.pipelines.qa.reading import FilterSettings, by_rules, spacy_model
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.schemas.kinds import GENERATORS, load
from mnemodex.schemas.steps import Read, Resources, Step
from mnemodex.schemas.tables import (
    ANSWER_SPANS,
    CHOSEN_PASSAGES,
    CHUNKS,
    DOCUMENTS,
    ERRORS,
    GENERATIONS,
    PASSAGE_SCORES,
    QA_CANDIDATES,
    QA_PAIRS,
    TableKey,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.pair_sections import AnswerSpans, GeneratedPairs, PairFilter, PassageChoice

_QA = "mnemodex.pipelines.qa"
_UNFILTERED = TableKey("qa_candidates", draft=True)
"""The candidates before they are filtered."""


def generation_steps(context: PlanContext, pairs: GeneratedPairs) -> Iterator[Step]:
    """Choose passages, find answers, generate candidates of every partition of chunks, and write those that are pairs.

    What a model gives depends on single chunks, and is taken over with them.
    """
    salt = context.recipe.id_salt
    component = GENERATORS.find(pairs.generator)
    generator: Any = load(component.make)
    chunks, identity = Read(CHUNKS, columns=(*CHUNK_COLUMNS, "doc_id")), [generator.version, component.version]
    reads = [chunks]
    if pairs.passages is not None:
        reads.append(Read(CHOSEN_PASSAGES))
        yield from _passage_steps(context, pairs.passages)
    if not generator.finds_answers:
        answers: Any = pairs
        yield _answer_step(context, answers.answers, tuple(reads))
        identity.append(load(FINDERS[answers.answers.by]).version)
        reads.append(Read(ANSWER_SPANS))
    settings = GenerateSettings(pairs=pairs)
    yield Step(
        "qa_pairs: questions",
        f"{_QA}.generate:GenerateOp",
        (*reads, Read(DOCUMENTS, columns=DOCUMENT_COLUMNS)),
        (GENERATIONS, ERRORS),
        settings,
        identity=[settings.identity(step="questions", digest=context.digest), *identity],
        resources=_RESOURCES.get(pairs.generator, Resources()),
        reuse="chunk_id",
    )
    scores = () if pairs.passages is None else (Read(PASSAGE_SCORES),)
    limit = CandidateSettings(max_pairs=pairs.max_pairs, generator=pairs.generator, id_salt=salt)
    yield Step(
        "qa_pairs: candidates",
        f"{_QA}.candidates:CandidatesOp",
        (Read(GENERATIONS), Read(CHUNKS, columns=JUDGED_COLUMNS), *scores),
        (QA_CANDIDATES if pairs.filter is None else _UNFILTERED,),
        limit,
        identity=limit.identity(),
    )
    if pairs.filter is not None:
        yield _filter_step(context, pairs, pairs.filter)
    salted = SaltSettings(id_salt=salt)
    writes = (QA_PAIRS, QUESTION_PARTS)
    op = f"{_QA}.pairs:GeneratedPairsOp"
    yield Step("qa_pairs", op, (Read(QA_CANDIDATES),), writes, salted, identity=salted.identity())


_RESOURCES = {"model": MODEL, "llm": Resources(workers=1)}
"""Of generators; others take one CPU. A server is asked `concurrency` questions at once, not so many by each worker."""


def _passage_steps(context: PlanContext, choice: PassageChoice) -> Iterator[Step]:
    yield Step(
        "qa_pairs: passages",
        f"{_QA}.passages:PassagesOp",
        (Read(CHUNKS, columns=CHUNK_COLUMNS),),
        (PASSAGE_SCORES,),
        choice,
        identity=[choice.identity(step="passages", digest=context.digest), load(SCORER).version],
        resources=MODEL,
        reuse="chunk_id",
    )
    yield Step(
        "qa_pairs: choice",
        f"{_QA}.passages:ChoiceOp",
        (Read(PASSAGE_SCORES),),
        (CHOSEN_PASSAGES,),
        choice,
        identity=choice.identity(step="choice"),
    )


def _answer_step(context: PlanContext, answers: AnswerSpans, reads: tuple[Read, ...]) -> Step:
    return Step(
        "qa_pairs: answers",
        f"{_QA}.passages:AnswersOp",
        reads,
        (ANSWER_SPANS,),
        answers,
        identity=[answers.identity(digest=context.digest), load(FINDERS[answers.by]).version],
        resources=MODEL if answers.by == "model" else Resources(),
        reuse="chunk_id",
    )


def _filter_step(context: PlanContext, pairs: GeneratedPairs, chosen: PairFilter) -> Step:
    index = None
    if chosen.by == "global":
        index = SearchedIndex.of(context.recipe, str(chosen.index), at="qa_pairs.filter.index")
    is_by_rules = by_rules(chosen)
    settings = FilterSettings(
        filter=chosen,
        index=index,
        spacy=spacy_model(pairs) if is_by_rules else None,
        max_errors=pairs.max_errors,
    )
    reads = [Read(_UNFILTERED), Read(CHUNKS, columns=CHUNK_COLUMNS)]
    if index is not None:
        reads += [Read(DOCUMENTS, columns=("doc_id",)), *index.reads()]
    needs_model = not is_by_rules or index is not None
    return Step(
        "qa_pairs: filter",
        f"{_QA}.filter:FilterOp",
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
