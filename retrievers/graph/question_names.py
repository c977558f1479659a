"""The names in questions, by spaCy's named entities: what HippoRAG links to its graph."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.schemas.triples import SPACY_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence


def question_names(questions: Sequence[str]) -> list[list[str]]:
    """The named entities of each question, in its order.

    Raises:
        ImportError: the extra `openie` is not installed.
    """
    return [[entity.text for entity in document.ents] for document in _model().pipe(questions)]


@functools.cache
def _model() -> Any:
    need("spacy", extra="openie")
    import spacy

    # Names need no syntax.
    return spacy.load(spacy_folder(SPACY_MODEL), exclude=["lemmatizer", "parser", "tagger", "attribute_ruler"])
