"""Answers of language models, kept one by one, so that none is paid for twice."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mnemodex.indexers.models.chat import Answer
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from mnemodex.schemas.store.store import Store


class Answers:
    """The folder `answers/` of a memory: a small file an answer, under the fingerprint of all that was asked.

    They belong to no snapshot. An answer is on the disk before it is used, so a build that was killed asks nothing
    again, and neither does one that cuts the same documents into other partitions.
    """

    def __init__(self, store: Store) -> None:
        self._files = store.files

    def find(self, key: str) -> Answer | None:
        """Return the answer to a question; a damaged one counts as none."""
        path = _path(key)
        value = unseal(self._files.read(path)) if self._files.exists(path) else None
        return None if value is None else Answer(**value)

    def keep(self, key: str, answer: Answer) -> None:
        """Put an answer on the disk."""
        self._files.put(_path(key), seal(asdict(answer)))


def _path(key: str) -> str:
    # A folder of all would be slow to list.
    return f"answers/{key[:2]}/{key[2:]}.json"
