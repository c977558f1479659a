"""spaCy's pipelines by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spacy.language import Language


def load_pipeline(name: str, *, exclude: Iterable[str]) -> Language:
    """Return a pipeline without some of its components.

    Raises:
        ModelError: there is none of the name, it has pickled files, or it cannot be loaded.
        MissingExtraError: spaCy is not installed.
    """
    need("spacy", extra="openie")
    folder = spacy_folder(name)
    import spacy

    try:
        return spacy.load(folder, exclude=list(exclude))
    except Exception as error:
        # Its components, and what they are kept in, raise what they like.
        raise ModelError(
            f"spaCy model {name!r} ({folder}) cannot be loaded: {type(error).__name__}: {error}; install a model of "
            "the version of spaCy that is installed"
        ) from error
