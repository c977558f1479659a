"""Models are tried before the build: loaded as its steps load them, and given a short and an over-long text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.encoders import open_encoder
from mnemodex.indexers.models.hashes import digest_of
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.pipelines.actor import software
from mnemodex.pipelines.lm.states import open_reader
from mnemodex.pipelines.vectors.encode import used_encoders
from mnemodex.schemas.errors import ModelError, UserError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.sections import SpacyTriples
from mnemodex.schemas.spec import ModelRef
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.sections import LmStates
    from mnemodex.schemas.spec import Spec
    from mnemodex.schemas.store.store import Store

_MEMO = "work/tried.json"
_LONGEST = 2048
"""Tokens of the over-long text at most: with thousands, one text takes a CPU a minute."""
_here: set[str] = set()
"""What was tried in this process."""


def try_models(recipe: Recipe, store: Store) -> None:
    """Try every model of files that a build would run, unless it was tried before with the same settings and software.

    Raises:
        ModelError: one cannot be loaded, or fails at a text; the message says what to change.
    """
    trials = dict(_trials(recipe))
    versions = software()
    named = {fingerprint(versions, spec.identity(digest=digest_of), at): at for at, (spec, _) in trials.items()}
    known = (unseal(store.files.read(_MEMO)) if store.files.exists(_MEMO) else None) or []
    for key in named.keys() - _here - set(known):
        at = named[key]
        spec, attempt = trials[at]
        try:
            attempt(at, spec)
        except UserError as error:
            raise type(error)(f"{at}: {error}") from error
        except Exception as error:
            # Whatever a library raises at a model that it was not written for.
            raise ModelError(
                f"{at}: model {getattr(spec, 'model', '')!r} fails at its first text ({type(error).__name__}: {error})"
                "; fetch it again, or take another model"
            ) from error
    _here.update(named)
    if set(known) != set(named):
        store.files.put(_MEMO, seal(sorted(named)))


def _trials(recipe: Recipe) -> list[tuple[str, tuple[Any, Callable[[str, Any], None]]]]:
    """Return each model's place in the recipe, its settings, and how it is tried."""
    found: list[tuple[str, tuple[Any, Callable[[str, Any], None]]]] = [
        (f"embed.{name}", (recipe.embed[name], _try_encoder))
        for name in used_encoders(recipe)
        if any(leaf.value and leaf.marker(ModelRef) for leaf in recipe.embed[name].leaves())
    ]
    found += [(f"lm.{name}", (spec, _try_language_model)) for name, spec in recipe.lm.items()]
    if isinstance(recipe.triples, SpacyTriples):
        found.append(("triples", (recipe.triples, _try_spacy)))
    return found


def _try_encoder(at: str, spec: Spec) -> None:
    encoder = open_encoder(spec)
    name = f"model {getattr(spec, 'model', getattr(spec, 'encoder', ''))!r}"
    long = "a ship " * min(encoder.max_length or _LONGEST, _LONGEST)
    for what, text in (("a short text", "A ship."), ("a text that is longer than it reads", long)):
        try:
            vectors = encoder.encode([text])
        except UserError:
            raise
        except Exception as error:
            given = f"`max_length: {encoder.max_length}`" if encoder.max_length else "no `max_length`"
            raise ModelError(
                f"{name} fails at {what}, with {given} ({type(error).__name__}: {error}); give a max_length that its "
                "positions allow (often 512), or take another model"
            ) from error
        if vectors.shape != (1, encoder.dimension):
            raise ModelError(
                f"{name} gives vectors of shape {vectors.shape} for one text, and says that their dimension is "
                f"{encoder.dimension}; take another model"
            )


def _try_language_model(at: str, spec: LmStates) -> None:
    _, reader = open_reader(spec, at.partition(".")[2])
    # With fewer tokens than the window where that takes long; the model's positions were compared with the window.
    tokens = np.zeros(min(spec.window, _LONGEST // 4), np.int32)
    list(reader.read([tokens[:2], tokens], np.array([1, 1], np.int64)))


def _try_spacy(at: str, spec: SpacyTriples) -> None:
    load_pipeline(spec.model, exclude=["lemmatizer"])("Ships sail. " * 50)
