"""spaCy's pipelines by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spacy.language import Language

_PIECE = 20_000
"""Characters that are parsed at once: the parser's memory grows with them."""


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


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield the parts of a text that are parsed at once, with their starts; they end at white space, if they can.

    Parts of white space alone are left out.
    """
    start = 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = end if space < 0 else space + 1
        part = text[start:end]
        if part.strip():
            yield start, part
        start = end
