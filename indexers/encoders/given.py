"""The encoder of questions to vectors that were made elsewhere: what the recipe names for them, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.encoders.base import TextEncoder, open_encoder
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from mnemodex.schemas.vector_sections import VectorFile


def open_given(settings: VectorFile, *, threads: int | None = None) -> TextEncoder:
    """Return the encoder of questions; a `ModelError` says that there is none, and how to search without one."""
    if settings.questions is None:
        raise ModelError(
            f"{settings.path[0]}: its vectors have no model for questions in words. Search by vectors: "
            "memory.retriever(INDEX).search_vectors(array, k); or name the model that made them, as `questions: "
            "{model: FOLDER}` in their entry of the section embed, and build again"
        )
    return open_encoder(settings.questions, threads=threads)
