"""Judgements compared with a memory: gold documents that it does not hold can never be found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.queries import Query

_EXAMPLES = 3
_NEAREST = """
    SELECT key FROM documents ORDER BY
    coalesce(try_cast(key AS DOUBLE) = try_cast(decode(unhex('{id}')) AS DOUBLE), false) DESC,
    levenshtein(left(lower(key), 100), left(lower(decode(unhex('{id}'))), 100)), key LIMIT 1
"""
"""The key of the same number (`7` for `7.0`), or the one that takes the fewest edits, whatever its case."""


@dataclass(frozen=True, slots=True)
class UnknownGold:
    """Gold ids that are no document's key.

    Attributes:
        count: how many they are.
        of: how many different gold ids there are.
        nearest: some of them, with the nearest key of the memory.
    """

    count: int
    of: int
    nearest: dict[str, str]

    def __str__(self) -> str:
        """Return the count and the examples as a clause."""
        examples = ", ".join(f"{gold!r} (the nearest key is {key!r})" for gold, key in self.nearest.items())
        return f"{self.count} of {self.of} gold ids are no key of a document: {examples}"

    def to_json(self) -> dict[str, Any]:
        """Return what `eval --json` prints."""
        return asdict(self)


def find_unknown_gold(memory: Memory, queries: Sequence[Query]) -> UnknownGold:
    """Return which gold ids are not in a memory.

    Raises:
        QueryError: all of them.
    """
    gold = dict.fromkeys(key for query in queries for key in query.gold)
    unknown = dict(gold)
    for part in memory.snapshot.manifest.tables[DOCUMENTS.label].partitions:
        keys = memory.snapshot.column(DOCUMENTS.label, part.label, "key")
        for key in keys[memory.snapshot.live_documents(part.label, np.arange(len(keys)))]:
            unknown.pop(key, None)
    found = UnknownGold(len(unknown), len(gold), {key: nearest_key(memory, key) for key in list(unknown)[:_EXAMPLES]})
    if gold and len(unknown) == len(gold):
        raise QueryError(f"{memory.snapshot.store.root}: {found}; give judgements of this corpus, with its keys as ids")
    return found


def nearest_key(memory: Memory, key: str) -> str:
    """Return the key of a document that is most like another key; empty where there is no document."""
    found = memory.sql(_NEAREST.format(id=key.encode(errors="replace").hex())).to_arrow_table()
    return str(next(iter(found["key"].to_pylist()), ""))
