"""How the models of generated pairs are tried before a build."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mnemodex.pipelines.qa.generate import GenerateSettings
from mnemodex.pipelines.qa.generators.base import Passage, Span
from mnemodex.pipelines.qa.passages import open_finder, open_scorer
from mnemodex.pipelines.qa.reading import FilterSettings, reader_of
from mnemodex.schemas.errors import ModelError, NoAnswerError
from mnemodex.schemas.kinds import GENERATORS, load
from mnemodex.schemas.pair_sections import AnswerSpans, ModelPairs, PassageChoice, RulePairs
from mnemodex.schemas.tables import PASSAGE_SCORES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.steps import Step

_SHORT = Passage("", "Ada Stone keeps the lighthouse.")
_LONG = Passage("Lighthouses", f"{_SHORT.text} " * 100)
"""It has more tokens than many models read at once."""
_ANSWER = Span(0, len("Ada Stone"), "entity")


def pair_trial(step: Step, work: Work) -> tuple[str, str, Callable[[], None]] | None:
    """Return the place in the recipe of the model that a step runs, the model, and how it is tried; None without one.

    A server's model is asked by `Op.probe`, and a package's generator tries its own there.
    """
    match step.settings:
        case PassageChoice() as choice if step.result == PASSAGE_SCORES:
            return "qa_pairs.passages", choice.model, partial(_try_scorer, choice, work)
        case AnswerSpans() as answers:
            return "qa_pairs.answers", str(answers.spacy or answers.model), partial(_try_finder, answers, work)
        case GenerateSettings(pairs=RulePairs() | ModelPairs() as pairs):
            return "qa_pairs", pairs.model, partial(_try_generator, pairs, work)
        case FilterSettings(filter=chosen, spacy=spacy) if chosen.server is None:
            return "qa_pairs.filter", str(chosen.model or spacy), partial(_try_reader, step.settings, work)
    return None


def _try_scorer(choice: PassageChoice, work: Work) -> None:
    open_scorer(choice, work).score([_SHORT, _LONG])


def _try_finder(answers: AnswerSpans, work: Work) -> None:
    open_finder(answers, work).find([_SHORT, _LONG])


def _try_generator(pairs: RulePairs | ModelPairs, work: Work) -> None:
    load(GENERATORS.find(pairs.generator).make)(pairs, work).generate([_SHORT, _LONG], [[_ANSWER], [_ANSWER]])


def _try_reader(settings: FilterSettings, work: Work) -> None:
    passages = [(passage.title, passage.text) for passage in (_SHORT, _LONG)]
    answer, _ = reader_of(settings, work).read(["Who keeps the lighthouse?"] * 2, [[passage] for passage in passages])
    if isinstance(answer, NoAnswerError):
        raise ModelError(str(answer))
