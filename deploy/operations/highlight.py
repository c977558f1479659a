"""`highlight`: where a question's words are in texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.deploy.operations.base import Form, check_number

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served


class HighlightForm(Form):
    """Texts, and a question whose words are looked for in them.

    Attributes:
        index: by whose language words are taken.
        question: that was asked.
        texts: as hits have them.
    """

    index: str
    question: str
    texts: list[str]


def highlight(served: Served, request: HighlightForm, access: Access) -> dict[str, Any]:
    """Return for each text where words of the question are, in any of their forms, as BM25 takes words.

    Places are [start, end) in characters, that is in code points.
    """
    from mnemodex.indexers.words import find_words, split_words
    from mnemodex.pipelines.commands.rendering import language_of

    access.admit("search", served.name, request.index)
    check_number("texts", request.texts, served.limits.k)
    language = language_of(served.memory.snapshot, request.index)
    words = set(split_words([request.question], language=language).names.to_pylist())
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "index": request.index,
        "spans": [find_words(text, words, language) for text in request.texts],
    }
