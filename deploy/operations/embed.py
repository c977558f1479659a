"""`embed`: the vectors of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.deploy.operations.base import Form, check_number
from mnemodex.retrievers.base import check
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served


class EmbedForm(Form):
    """Texts to encode.

    Attributes:
        texts: questions, which get the prefix of questions where the model has one.
        embedding: the name of the embedding; the memory's first one by default.
    """

    texts: list[str]
    embedding: str | None = None


def embed(served: Served, request: EmbedForm, access: Access) -> dict[str, Any]:
    """Return the vectors of questions, as a dense index of that embedding is searched by them."""
    access.admit("search", served.name)
    check_number("texts", request.texts, served.limits.questions)
    texts = check(request.texts, 1)
    names = [name for name, entry in served.memory.snapshot.manifest.encoders.items() if entry.encodes]
    if not names:
        raise QueryError(f"memory {served.name!r}: has no embedding with a model. Ask a memory that has one")
    name = request.embedding or names[0]
    vectors = served.memory.encoder(name).encode_queries(texts)
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "embedding": name,
        "dimension": int(vectors.shape[1]),
        "vectors": vectors.tolist(),
    }
