"""What a retriever is: batches of questions in, hits out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, SupportsIndex, TypedDict, overload

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from mnemodex.retrievers.contiguity import ContiguityRetriever
    from mnemodex.retrievers.grouping import Group, GroupBy
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.spans import Span

    Arranged = Hits | list[list[Group]] | list[list[Span]]
    """What a search gives: hits, groups of them, or spans around them."""


class Narrowing(TypedDict, total=False):
    """What every form of a search takes by name; see `Retriever.search`."""

    where: str | None
    newest: bool


MOST_HITS = 1_000_000
"""Hits of a question: answers are arrays with room for as many as were asked for, 24 bytes each."""


class Retriever(Protocol):
    """An opened index of a snapshot. Kinds of index define `find`.

    Attributes:
        name: the index's name.
        most_hits: hits of a question that a search gives at most.
    """

    name: str
    most_hits: int = MOST_HITS

    @property
    def near(self) -> ContiguityRetriever | None:
        """The contiguity index along whose sequences `expand` reads; None where it reads along documents."""
        return None

    @overload
    def search(self, queries: Sequence[str], k: int = ..., **narrowing: Unpack[Narrowing]) -> Hits: ...

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, group_by: str | GroupBy, **narrowing: Unpack[Narrowing]
    ) -> list[list[Group]]: ...

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, expand: int | tuple[int, int], **narrowing: Unpack[Narrowing]
    ) -> list[list[Span]]: ...

    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        newest: bool = False,
        group_by: str | GroupBy | None = None,
        expand: int | tuple[int, int] | None = None,
    ) -> Arranged:
        """Return the best hits of each question, their groups, or the spans around them.

        Args:
            queries: the questions.
            k: hits for each, or groups; fewer where fewer rows (that `where` keeps) match the question. A question
                without a visible character matches none.
            where: a boolean SQL expression over `chunks c` and `documents d`; an unqualified column is the chunk's if
                it has it.
            newest: whether superseded facts are left out, of an index of type graph; see `GraphRetriever`.
            group_by: a field of the documents' metadata, `a.b` for the field b of the object a, or a `GroupBy`: the
                result is the best groups of hits with one value of it.
            expand: so many chunks before and after each hit, or (before, after): the result is the hits with these,
                each text once; see `expand_hits`.

        Raises:
            QueryError: k is below 1 or too large, a question is not a string, `where` is not such an expression, there
                is no such field, both `group_by` and `expand` are given, hits are no chunks where one of them is, or
                `newest` is given for an index without facts, or without times of these.
        """
        return arrange(self, check(queries, k), k, where, newest, group_by, expand)

    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        """Return the best hits of each question; arguments and errors are those of `search`, and are checked."""

    def find_newest(self, questions: list[str], k: int, where: str | None) -> Hits:
        """As `find`, where superseded facts are left out."""
        raise QueryError(
            f"index {self.name!r}: knows of no facts that are superseded; leave out newest, or search an index of type "
            "graph"
        )


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


def arrange(
    retriever: Retriever,
    questions: list[str],
    k: int,
    where: str | None,
    newest: bool,
    group_by: str | GroupBy | None,
    expand: int | tuple[int, int] | None,
) -> Arranged:
    """Search as `Retriever.search`, for questions that are checked."""
    check_one_form(False, group_by, expand)
    find = retriever.find_newest if newest else retriever.find
    if group_by is not None:
        from mnemodex.retrievers.grouping import Grouping

        grouping = Grouping(group_by, k, most_hits=retriever.most_hits, index=retriever.name)
        while (groups := grouping.groups(find(questions, grouping.depth, where))) is None:
            pass
        return groups
    if expand is not None:
        from mnemodex.retrievers.spans import expand_hits, sides

        before, after = sides(expand)
        return expand_hits(find(questions, k, where), before, after, near=retriever.near)
    return find(questions, k, where)


def check_one_form(explain: bool, group_by: object, expand: object) -> None:
    """Refuse what a search cannot do at once, by a `QueryError`."""
    if group_by is not None and expand is not None:
        raise QueryError("group_by and expand: hits are grouped or expanded. Give one of them")
    if explain and (group_by is not None or expand is not None):
        raise QueryError("explain: is for hits alone. Leave it out, or group_by and expand")
