"""Any sequence of publishing, committing, dying and reopening, against a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from stores import find, manifest, publish

from mnemodex.schemas.errors import CommitFailedError
from mnemodex.schemas.store.store import Store

PLACES = [f"{folder}/{label}-f{n}" for folder in ("tables/notes", "indexes/words") for label in "ab" for n in (1, 2)]
places = st.sampled_from(PLACES)


class StoreMachine(RuleBasedStateMachine):
    """`published` maps the place of each result to its content, `snapshots` are the places of each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp()) / "memory"
        self.store = Store(self.root)
        self.store.prepare()
        self.published: dict[str, str] = {}
        self.snapshots: list[list[str]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.root.parent)

    @rule(place=places, content=st.sampled_from(["short", "longer content"]))
    def publish(self, place, content):
        artifact = publish(self.store, place, content)
        kept = self.published.setdefault(place, content)
        assert (self.root / artifact.files[0].path).read_text() == kept

    @rule(chosen=st.sets(places))
    def commit(self, chosen):
        chosen = [place for place in PLACES if place in chosen and place in self.published]
        wanted = manifest([find(self.store, place) for place in chosen], recipe_hash=str(chosen))
        with self.store.lock():
            assert self.store.commit(wanted, former=self.store.current()).same_content(wanted)
        self.snapshots.append(chosen)

    @precondition(lambda self: self.snapshots)
    @rule(before=st.integers(0, 3))
    def commit_late(self, before):
        """A writer that began some snapshots ago, and did not see the later ones."""
        history = [*self.store.history(self.store.current()), None]
        former = history[min(1 + before, len(history) - 1)]
        with pytest.raises(CommitFailedError, match="another writer committed first"):
            self.store.commit(manifest([], recipe_hash="late"), former=former)

    @rule(data=st.sampled_from([None, b"", b"nonsense", b"000001 " + b"0" * 64 + b"\n"]))
    def lose_current(self, data):
        if data is None or len(self.snapshots) < 2:
            (self.root / "CURRENT").unlink(missing_ok=True)
        else:
            self.store.files.put("CURRENT", data)

    @rule()
    def clean(self):
        with self.store.lock():
            self.store.clean()
        assert self.store.files.names("work") == []

    @rule()
    def reopen(self):
        self.store = Store(self.root)
        self.store.prepare()

    @rule()
    def die_before_publishing(self):
        self.store.files.put("work/attempt-1/data.txt", b"half")

    @rule(place=places)
    def die_between_files_and_marker(self, place):
        if place in self.published:
            return
        path = self.root / place
        if place.startswith("tables/"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f"{path.name}-0123456789.txt").write_text("whole, but without its marker")
        else:
            path = path.with_name(f"{path.name}-0123456789")
            path.mkdir(parents=True, exist_ok=True)
            (path / "data.txt").write_text("half")

    @rule(place=places)
    def lose(self, place):
        if place in self.published:
            del self.published[place]
            (self.root / find(self.store, place).files[0].path).unlink()

    @invariant()
    def current_is_the_last_commit(self):
        current = self.store.current()
        history = [] if current is None else [*self.store.history(current)]
        held = [sorted(artifact.place for artifact in item.artifacts()) for item in reversed(history)]
        assert held == [sorted(snapshot) for snapshot in self.snapshots]

    @invariant()
    def what_was_published_is_found_whole(self):
        for place in PLACES:
            artifact = find(self.store, place)
            assert (artifact is not None) == (place in self.published)
            for file in artifact.files if artifact else ():
                self.store.files.check(file)


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestStore = StoreMachine.TestCase
