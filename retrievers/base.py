"""What a retriever is: batches of questions in, hits out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, SupportsIndex

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits


MOST_HITS = 1_000_000
"""Hits of a question: answers are arrays with room for as many as were asked for, 24 bytes each."""


class Retriever(Protocol):
    """An opened index of a snapshot.

    Attributes:
        name: the index's name.
    """

    name: str

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """Return the best hits of each question.

        Args:
            queries: the questions.
            k: hits for each; fewer where fewer rows (that `where` keeps) match the question. A question without a
                visible character matches none.
            where: a boolean SQL expression over `chunks c` and `documents d`; an unqualified column is the chunk's if
                it has it.

        Raises:
            QueryError: k is below 1 or too large, a question is not a string, or `where` is not such an expression.
        """


def is_blank(question: str) -> bool:
    """Whether a question has no visible character."""
    return not any(letter.isprintable() and not letter.isspace() for letter in question)


def check_k(k: int) -> None:
    """Refuse what is not a number of hits, by a `QueryError`."""
    if isinstance(k, bool) or not isinstance(k, SupportsIndex):
        raise QueryError(f"k is {k!r}, of type {type(k).__name__}; give a whole number of hits, such as k=10")
    if k.__index__() < 1:
        raise QueryError(f"k is {k}; ask for at least 1 hit")
    if k.__index__() > MOST_HITS:
        raise QueryError(f"k is {k}; ask for at most {MOST_HITS} hits")


def check_where(where: object) -> str:
    """Return a filter; raise `QueryError` for what is no text."""
    if not isinstance(where, str):
        raise QueryError(
            f"where is a {type(where).__name__}, not a string; write a SQL expression: where=\"d.key = 'a'\""
        )
    try:
        where.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"where holds a lone surrogate: {where!r}; give it as valid Unicode") from error
    return where


def check(queries: Sequence[str], k: int) -> list[str]:
    """Return the questions as a list; raise `QueryError` for arguments that `search` does not take."""
    if isinstance(queries, str | bytes) or not isinstance(queries, Iterable):
        raise QueryError(f"search takes a list of questions, not a {type(queries).__name__}: search([question])")
    check_k(k)
    questions = list(queries)
    for number, question in enumerate(questions):
        if not isinstance(question, str):
            raise QueryError(f"question {number} is a {type(question).__name__}, not a string")
        try:
            question.encode()
        except UnicodeEncodeError as error:
            # Tokenizers and Arrow refuse it too. It comes from a command line's argument that is not UTF-8.
            msg = f"question {number} holds a lone surrogate: {question!r}; give it as valid Unicode"
            raise QueryError(msg) from error
    return questions
