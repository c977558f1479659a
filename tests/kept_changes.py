"""Changes between which a memory is compacted, collected and purged; the snapshots that are kept answer as they did."""

from __future__ import annotations

import pytest
from changes import MASKED, MASKED_GRAPHS, Changes, places
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from pair_changes import MASKED_PAIRS
from rebuilds import Killed, die_after, unlock

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import SnapshotNotFoundError


class KeptChanges(Changes):
    """`kept` are the documents of each snapshot that was not collected, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[int, int]] = {}

    @invariant()
    def note_snapshot(self) -> None:
        if self.there:
            self.kept.setdefault(self._memory().snapshot.name, dict(self.there))

    @rule()
    def compact(self) -> None:
        self._memory().compact()
        assert not self._memory().compact()
        self.changed = True

    @rule(keep=st.integers(1, 3))
    def collect(self, keep: int) -> None:
        gone = sorted(self.kept)[:-keep]
        result = self._memory().gc(keep=keep)
        assert (sorted(result.snapshots), result.pinned) == (gone, [])
        for name in gone:
            del self.kept[name]
            with pytest.raises(SnapshotNotFoundError, match="removed"):
                self._memory(snapshot=name)
        self.changed = True

    @rule(writes=st.integers(0, 60))
    def die_collecting(self, writes: int) -> None:
        gone = sorted(self.kept)[:-1]
        with pytest.MonkeyPatch.context() as patch:
            dead = die_after(writes, patch, deletes=True)
            try:
                self._memory().gc(keep=1)
            except Killed:
                unlock(dead)
        left = [name for (name,) in self._memory().sql("SELECT name FROM snapshots").fetchall()]
        for name in set(gone).difference(left):
            del self.kept[name]
        self.changed = True

    @precondition(lambda self: len(self.kept) > 1)
    @rule(place=places)
    def reopen(self, place: int) -> None:
        name = sorted(self.kept)[place % len(self.kept)]
        self._compare(self.kept[name], snapshot=name)

    @rule(place=places, count=st.integers(1, 3))
    def purge(self, place: int, count: int) -> None:
        numbers = self._some(place, count)
        if not self._would_leave(numbers):
            return
        assert self._memory().delete([f"n{number}" for number in numbers], purge=True) == len(numbers)
        assert verify(self.folder / "memory").problems == []
        self.kept.clear()
        self.purged.update(numbers)
        self._now({number: edits for number, edits in self.there.items() if number not in numbers})


class KeptMaskedChanges(KeptChanges):
    """Changes of a memory whose deletions write no files but of ids."""

    indexes = MASKED


class KeptMaskedGraphChanges(KeptChanges):
    """The same of a memory with graphs, whose deletions write what differs of their tables too."""

    indexes = MASKED_GRAPHS


class KeptMaskedPairChanges(KeptChanges):
    """The same of a memory with pairs of a file, whose deletions write what differs of their questions."""

    indexes = MASKED_PAIRS


class KeptMaskedGeneratedChanges(KeptMaskedPairChanges):
    """The same of pairs that are made of the documents, and go with these."""

    generator = "words"
