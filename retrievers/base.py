"""What a retriever is: batches of questions in, hits out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits


class Retriever(Protocol):
    """Opens one index of a snapshot.

    Attributes:
        name: the index's name.
        no_match: the score of hits that have nothing of the question and only fill places; None where all have some.
    """

    name: str
    no_match: ClassVar[float | None]

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """Answer a batch of questions.

        Args:
            queries: the questions.
            k: how many hits each gets; fewer only where the index (or `where`) has fewer rows.
            where: a boolean SQL expression over `chunks c` and `documents d`; an unqualified column is the chunk's if
                it has it.

        Raises:
            QueryError: k below 1, questions that are not strings, or a `where` that is not such an expression.
        """


def check(queries: Sequence[str], k: int) -> list[str]:
    """The questions as a list, refused where they are not what `search` takes."""
    if isinstance(queries, str):
        msg = "search takes a list of questions: search([question])"
        raise QueryError(msg)
    questions = list(queries)
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            msg = f"question {number} is a {type(question).__name__}, not a string"
            raise QueryError(msg)
        if not _is_unicode(question):
            msg = f"question {number} holds a lone surrogate: {question!r}; give it as valid Unicode"
            raise QueryError(msg)
    if k < 1:
        msg = f"k is {k}; ask for at least 1 hit"
        raise QueryError(msg)
    return questions


def _is_unicode(text: str) -> bool:
    """Whether tokenizers and Arrow take the text; a command line's argument that is no UTF-8 is none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
