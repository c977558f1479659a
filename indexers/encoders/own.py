"""What a model says of itself: its prompts before questions and passages, and how its vectors are compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.indexers.encoders.configuration import read_config
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import Embedding
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.encoders.configuration import Config
    from mnemodex.schemas.spec import Spec

_PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""Names of the prompt before passages; the first that is not empty is meant."""


class _Own(NamedTuple):
    """What a model says of keys of an encoder's settings; of `normalize` None where it does not decide."""

    query_prefix: str
    passage_prefix: str
    normalize: bool | None


def with_own(settings: Spec) -> Spec:
    """Return an encoder's settings, what they leave out filled in by what its model says of itself.

    Raises:
        ModelError: there is no such model, its configuration cannot be read, or it compares vectors in a way that the
            settings have to choose.
    """
    if isinstance(settings, VectorFile) and settings.questions is not None:
        return settings.model_copy(update={"questions": with_own(settings.questions)})
    if not isinstance(settings, Embedding) or None not in (
        settings.query_prefix,
        settings.passage_prefix,
        settings.normalize,
    ):
        return settings
    own, similarity = _own_settings(settings.model)
    missing = {key: value for key, value in own._asdict().items() if getattr(settings, key) is None}
    if missing.get("normalize", True) is None:
        raise ModelError(
            f"model {settings.model!r}: compares vectors by {similarity}; say in its entry of the recipe's section "
            "embed how they are to be compared: `normalize: true` for cosines, `normalize: false` for inner products, "
            "or with `metric: l2` in the index for Euclidean distances"
        )
    return settings.model_copy(update=missing)


def own_of(settings: Spec) -> tuple[str, ...]:
    """Return the keys among prefixes and `normalize` whose values are those that the model itself says."""
    if not isinstance(settings, Embedding):
        return ()
    try:
        own, _ = _own_settings(settings.model)
    except ModelError:
        # A configuration that is damaged is not read where the recipe gives all of them.
        return ()
    return tuple(key for key, value in own._asdict().items() if getattr(settings, key) == value)


def _own_settings(model: str) -> tuple[_Own, str | None]:
    """Return what a model says of settings, and its similarity."""
    own, modules = _configuration(locate(model), model)
    prompts = {name: prompt or "" for name, prompt in own.get("prompts", {}).items()}
    passage = next((prompts[name] for name in _PASSAGE_PROMPTS if prompts.get(name)), "")
    similarity = own.get("similarity_fn_name")
    directions = similarity in (None, "cosine") or any(module.endswith(".Normalize") for module in modules)
    normalize = True if directions else False if similarity == "dot" else None
    return _Own(prompts.get("query", ""), passage, normalize), similarity


def _configuration(path: Path, model: str) -> tuple[Config, list[str]]:
    """Return what sentence-transformers keeps of a model, and its modules' classes; neither where it has no modules."""
    files = path / "config_sentence_transformers.json", path / "modules.json"
    # Without modules, or of another type, sentence-transformers makes an encoder that has no prompts.
    if not files[1].is_file():
        return {}, []
    try:
        own = read_config(files[0])
        modules = [str(module["type"]) for module in json.loads(files[1].read_text("utf-8"))]
        if own.get("model_type") not in (None, "SentenceTransformer"):
            return {}, []
        if not all(isinstance(prompt, str | None) for prompt in own.get("prompts", {}).values()):
            raise TypeError("a prompt is no text")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"model {model!r}: {files[0]} or {files[1].name} is damaged ({error}); fetch it again"
        ) from error
    return own, modules
