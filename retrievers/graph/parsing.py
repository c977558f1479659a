"""The parser of questions: the spaCy model of a memory's language."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.schemas.errors import MissingExtraError, ModelError
from mnemodex.schemas.sections import SPACY_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spacy.language import Language
    from spacy.tokens import Doc

    from mnemodex.indexers.settings import Rewrites

    Parse = Callable[[Sequence[str]], list[Doc]]
    """Parses questions."""

_LONGEST = 4096
"""Characters of a question that are parsed: its vector does not cover more."""


class Parser(NamedTuple):
    """What parses the questions of a memory, or why nothing does."""

    parse: Parse | None
    missing: str | None = None
    """What is not installed, where questions would be parsed with it."""


def find_parser(rewrites: Rewrites | None, triples: Mapping[str, Any] | None) -> Parser:
    """Return the parser of a memory's questions; its model is loaded at the first one.

    That is the spaCy model which extracted the memory's triples. Where something else did, the language is not known:
    then questions are parsed only where the settings say so, by the English model.

    Args:
        rewrites: what the settings say; without it questions are parsed where there is a parser.
        triples: the section of the recipe.

    Raises:
        ModelError: the settings want a parser, and the model is missing or has none.
        MissingExtraError: they do, and spaCy is not installed.
    """
    by_spacy = triples is not None and triples.get("extractor") == "spacy"
    if rewrites == "mentions" or (rewrites is None and not by_spacy):
        return Parser(None)
    model = str(triples["model"]) if triples is not None and by_spacy else SPACY_MODEL
    try:
        _check_parser(model)
    except (ModelError, MissingExtraError) as error:
        if rewrites is None:
            return Parser(None, f"clauses: {error}")
        raise
    return Parser(functools.partial(_parse, model))


def _check_parser(model: str) -> None:
    need("spacy", extra="openie")
    meta = json.loads((spacy_folder(model) / "meta.json").read_text("utf-8"))
    if "parser" not in meta.get("pipeline", ()):
        raise ModelError(
            f"spaCy model {model!r}: it has no parser, which `rewrites: clauses` needs; name a model with one in the "
            "section `triples`, or set `rewrites: mentions`"
        )


def _parse(model: str, questions: Sequence[str]) -> list[Doc]:
    return list(_pipeline(model).pipe(question[:_LONGEST] for question in questions))


@functools.cache
def _pipeline(model: str) -> Language:
    return load_pipeline(model, exclude=["lemmatizer", "ner"])
