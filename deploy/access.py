"""What a caller of the server may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mnemodex.deploy.filters import check_filter, check_size
from mnemodex.schemas.errors import AccessError, QueryError

Scope = Literal["search", "sql", "answer", "admin"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
"""search: search, fetch, indexes, ngrams, next-token, embed, predictions, graph, feedback; answer: readers;
sql: statements; admin: reload and metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the bearer of a key may do.

    Attributes:
        key_name: the key's name, as the audit log has it.
        scopes: what may be asked.
        memories: the names of those that may be asked; None means all.
        indexes: likewise.
        where: a filter that each of its questions has besides its own; None where it sees all rows.
        rate: requests a second; None where they are not limited.
    """

    key_name: str
    scopes: frozenset[Scope]
    memories: frozenset[str] | None = None
    indexes: frozenset[str] | None = None
    where: str | None = None
    rate: float | None = None

    def admit(self, scope: Scope, memory: str, index: str | None = None) -> None:
        """Refuse what the key is not for, by an `AccessError`: every operation asks this first.

        Args:
            scope: that the operation needs.
            memory: that is asked.
            index: of it that is asked, if it is one.
        """
        self.require(scope)
        self.require_memory(memory)
        if index is not None:
            self.require_index(index)

    def require(self, scope: Scope) -> None:
        """Refuse a key without a scope, by an `AccessError`."""
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise AccessError(f"key {self.key_name!r} has no scope {scope!r} (it has: {has}); ask with another key")

    def require_memory(self, name: str) -> None:
        """Refuse a key that is not for a memory, whether that is there or not, by an `AccessError`."""
        if not self.sees_memory(name):
            raise AccessError(f"key {self.key_name!r} is not for memory {name!r}; ask one of {_listed(self.memories)}")

    def require_index(self, name: str) -> None:
        """Refuse a key that is not for an index, whether that is there or not, by an `AccessError`."""
        if not self.sees_index(name):
            raise AccessError(f"key {self.key_name!r} is not for index {name!r}; ask one of {_listed(self.indexes)}")

    def require_all_rows(self, operation: str, why: str) -> None:
        """Refuse a key that sees some rows only, for an operation that cannot leave the others out.

        Args:
            operation: what it is, as "counts of n-grams".
            why: why it cannot be filtered, as "they are those of the whole corpus".

        Raises:
            AccessError: the key has a `where`.
        """
        if self.where is not None:
            raise AccessError(
                f"key {self.key_name!r} sees some rows only, and {operation} cannot be filtered: {why}; ask with a key "
                "without a where"
            )

    def sees_memory(self, name: str) -> bool:
        """Whether the key is for a memory."""
        return self.memories is None or name in self.memories

    def sees_index(self, name: str) -> bool:
        """Whether the key is for an index."""
        return self.indexes is None or name in self.indexes

    @property
    def is_limited(self) -> bool:
        """Whether filters of the key are checked: it may not read, by one, what its scopes do not show."""
        return "sql" not in self.scopes or self.where is not None or self.indexes is not None

    def where_of(self, where: str | None) -> str | None:
        """Return the filter of a question: the key's and the question's own.

        Each has to be one expression by itself, so that no bracket of one ends the other.

        Raises:
            QueryError: the question's filter is none that the key may use.
        """
        if where is not None:
            (check_filter if self.is_limited else check_size)(where)
        if self.where is None:
            return where
        check_filter(self.where)
        if where is None:
            return self.where
        # Not AND, whose sides DuckDB evaluates in any order: an error of the question's side, such as that of a cast,
        # would quote rows that the key does not see. Of CASE a branch is evaluated for the rows of its condition alone.
        return f"CASE WHEN (\n{self.where}\n) THEN CAST((\n{where}\n) AS BOOLEAN) ELSE false END"

    def shown(self, error: QueryError) -> QueryError:
        """Return an error of a filter without the key's own filter, which messages quote."""
        if self.where is None or not str(error).startswith("where "):
            return error
        _, found, detail = str(error).rpartition(" over chunks c and documents d: ")
        says = detail if found else "it cannot be evaluated"
        return QueryError(f"where is not a boolean expression over chunks c and documents d: {says}")


OPEN = Access(key_name="open", scopes=SCOPES)
"""The access of whoever asks a server without keys, which listens on this machine alone."""


def _listed(names: frozenset[str] | None) -> str:
    return ", ".join(sorted(names or ())) or "none"
