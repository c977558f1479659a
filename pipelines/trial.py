"""Models are tried before they are run: loaded as their steps load them, and given a short and an over-long text."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.encoders import open_encoder
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.indexers.settings import GraphSettings
from mnemodex.pipelines.entries import entry_of
from mnemodex.pipelines.extractors.extract import ExtractSettings
from mnemodex.pipelines.lm.states import StateSettings, open_reader
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.qa.trial import pair_trial
from mnemodex.pipelines.vectors.encode import EncodeSettings
from mnemodex.schemas.errors import MnemodexError, ModelError, NoAnswerError, UserError
from mnemodex.schemas.sections import SpacyTriples
from mnemodex.schemas.spec import ModelRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mnemodex.pipelines.results import StepResults
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.sections import LmStates
    from mnemodex.schemas.spec import Spec
    from mnemodex.schemas.steps import Step
    from mnemodex.schemas.store.store import Store

_LONGEST = 2048
"""Tokens of the over-long text at most: with thousands, one text takes a CPU a minute."""
_SECONDS = 30.0
"""That a server may take for the answer to one question."""
_here: set[str] = set()
"""The identities of the steps whose models were tried in this process."""


def try_models(steps: Iterable[StepResults], former: Manifest | None, store: Store) -> None:
    """Try the models of files that some steps run, but not those with which the current snapshot's results were made.

    Args:
        steps: those that are not complete.
        former: the current snapshot.
        store: the memory that is built.

    Raises:
        ModelError: a model cannot be loaded, or fails at a text; the message says what to change.
    """
    work = Work(1, store)
    for results in steps:
        made = entry_of(former, results.step.result)
        trial = _trial(results.step) or pair_trial(results.step, work)
        if trial is None or results.identity in _here or (made is not None and made.identity == results.identity):
            continue
        at, model, attempt = trial
        try:
            attempt()
        except UserError as error:
            raise type(error)(f"{at}: {error}") from error
        except Exception as error:
            # Whatever a library raises at a model that it was not written for.
            raise ModelError(
                f"{at}: model {model!r} fails at its first text ({type(error).__name__}: {error}); fetch it again, or "
                "take another model"
            ) from error
        _here.add(results.identity)


def try_recognition(indexes: Mapping[str, Spec], former: Manifest | None) -> list[str]:
    """Ask the servers of graph indexes that only searches need, but not those of the current snapshot.

    Nothing that is built depends on them: what is wrong is a warning.
    """
    from mnemodex.retrievers.graph.hipporag import Recognition

    warnings = []
    for name, index in indexes.items():
        spec = index.recognition if isinstance(index, GraphSettings) else None
        known = former.indexes.get(name) if former is not None else None
        if spec is None or (known is not None and known.settings.get("recognition") == spec.model_dump()):
            continue
        at = f"indexes.{name}.recognition"
        try:
            if refused := ", ".join(Recognition.of(spec, timeout=_SECONDS, max_retries=1).probe()):
                warnings.append(f"{at}: {spec.base_url} refuses {refused}; it is asked without")
        except NoAnswerError as error:
            warnings.append(f"{at}: {error}. Correct that: a search keeps all facts that the server does not judge")
        except MnemodexError as error:
            warnings.append(f"{at}: {error}. Correct that before you search")
    return warnings


def _trial(step: Step) -> tuple[str, str, Callable[[], None]] | None:
    """Return the place in the recipe of the model that a step runs, the model, and how it is tried; None without one.

    What encodes facts and names has encoded chunks.
    """
    match step.settings:
        case EncodeSettings(of="chunks" | "questions" | "question_answers", encoder=spec, name=name):
            models = [str(leaf.value) for leaf in spec.leaves() if leaf.value and leaf.marker(ModelRef)]
            return (f"embed.{name}", models[0], partial(_try_encoder, spec)) if models else None
        case StateSettings(lm=spec, name=name):
            return f"lm.{name}", spec.model, partial(_try_language_model, spec)
        case ExtractSettings(extractor=SpacyTriples() as spec):
            return "triples", spec.model, partial(_try_spacy, spec)
    return None


def _try_encoder(spec: Spec) -> None:
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


def _try_language_model(spec: LmStates) -> None:
    _, reader = open_reader(spec)
    # With fewer tokens than the window where that takes long; the model's positions were compared with the window.
    tokens = np.zeros(min(spec.window, _LONGEST // 4), np.int32)
    list(reader.read([tokens[:2], tokens], np.array([1, 1], np.int64)))


def _try_spacy(spec: SpacyTriples) -> None:
    load_pipeline(spec.model, exclude=["lemmatizer"])("Ships sail. " * 50)
