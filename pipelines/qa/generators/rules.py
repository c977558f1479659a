"""Questions by rules over spaCy's parse and named entities: offline, one CPU an actor."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.pipelines.qa.generators.base import Candidate, Generated, Generator, Passage, Span
from mnemodex.pipelines.qa.rules.prose import paragraphs
from mnemodex.pipelines.qa.rules.questions import drafts
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.qa.rules.asking import Draft
    from mnemodex.pipelines.qa.rules.prose import Paragraph
    from mnemodex.schemas.pair_sections import RulePairs


class RuleGenerator(Generator):
    """Questions whose answers are spans of their chunk, from clauses of its prose."""

    finds_answers = True

    def __init__(self, settings: RulePairs, work: Work) -> None:
        self._nlp = load_pipeline(settings.model, exclude=[])

    @override
    @classmethod
    def check(cls, settings: RulePairs) -> None:
        need("spacy", extra="openie")
        _check_language(spacy_folder(settings.model), settings.model)

    @override
    def generate(self, passages: Sequence[Passage], answers: Sequence[Sequence[Span]]) -> list[Generated]:
        found: dict[int, list[tuple[Paragraph, Draft]]] = defaultdict(list)
        texts = [
            (paragraph.text, (number, paragraph))
            for number, passage in enumerate(passages)
            for paragraph in paragraphs(passage.text)
        ]
        for doc, (number, paragraph) in self._nlp.pipe(texts, as_tuples=True, batch_size=64):
            found[number] += [(paragraph, draft) for draft in drafts(doc, passages[number].title)]
        return [Generated(_candidates(found[number])) for number in range(len(passages))]


def _check_language(folder: Path, model: str) -> None:
    language = json.loads((folder / "meta.json").read_text(encoding="utf-8")).get("lang")
    if language != "en":
        raise ModelError(
            f"qa_pairs: the rules know English sentences, but the spaCy model {model!r} is of the language "
            f"{language!r}; name an English model, or take the generator `model` or `llm`"
        )


def _candidates(found: list[tuple[Paragraph, Draft]]) -> list[Candidate]:
    """Return the candidates of a chunk, best first, each question once."""
    best: dict[str, Candidate] = {}
    # Stable, so that what comes first in the text is first among equals.
    for paragraph, draft in sorted(found, key=lambda item: -item[1].score):
        start, end = paragraph.place(draft.start), paragraph.place(draft.end - 1) + 1
        best.setdefault(draft.question.lower(), Candidate(draft.question, Span(start, end, draft.rule), draft.score))
    return list(best.values())
