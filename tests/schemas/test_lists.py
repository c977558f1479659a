"""Lists of artifacts: in memory and in files, against plain lists."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stores import manifest

from mnemodex.schemas.errors import CommitFailedError, CorruptFileError
from mnemodex.schemas.manifest import Artifact, Artifacts, FileEntry
from mnemodex.schemas.store import lists as lists_module
from mnemodex.schemas.store.store import Store

MANY = 6000
"""So many that they need several list files."""


def artifact(number: int, content: str = "") -> Artifact:
    made = hashlib.sha256(f"{number}{content}".encode()).hexdigest()
    file = FileEntry(path=f"tables/notes/{number:05d}-{made[:20]}.parquet", bytes=number, sha256=made)
    return Artifact(label=f"{number:05d}", fingerprint=made[:20], rows=number % 7, files=(file,))


def commit(store: Store, artifacts: list[Artifact]) -> Artifacts:
    """Commit them as the partitions of one table, and return what the snapshot says."""
    store.commit(manifest(artifacts), former=store.current())
    current = Store(store.root).current()
    return current.tables["notes"].partitions


def written(store: Store) -> set[str]:
    return set(store.files.names("snapshots/lists"))


@pytest.fixture
def small_files(monkeypatch):
    """List files that end after one artifact in 16, or after five."""
    monkeypatch.setattr(lists_module, "_ENDS", tuple("0"))
    monkeypatch.setattr(lists_module, "_MOST", 5)


@pytest.mark.usefixtures("small_files")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 40), st.data())
def test_artifacts_are_the_same_sequence_in_memory_and_in_files(tmp_path_factory, count, data):
    store = Store(tmp_path_factory.mktemp("lists") / "memory")
    store.prepare()
    wanted = [artifact(number) for number in range(count)]
    kept = Artifacts(wanted)
    store.commit(manifest([]).model_copy(update={"tombstones": kept}), former=None)
    listed = store.current().tombstones
    assert listed.lists is not None and kept.lists is None
    for artifacts in (kept, listed):
        assert list(artifacts) == wanted
        assert (len(artifacts), artifacts.rows) == (count, sum(one.rows for one in wanted))
        assert artifacts.bytes == sum(one.bytes for one in wanted)
        cut = data.draw(st.slices(max(count, 1)))
        assert list(artifacts[cut]) == wanted[cut]
        for number in range(-count, count):
            assert artifacts[number] == wanted[number]
            assert artifacts.find(wanted[number].label) == wanted[number]
        assert artifacts.find("none") is None
        with pytest.raises(IndexError):
            artifacts[count]
        assert artifacts == listed and artifacts == kept and artifacts.same_results(listed)
        assert artifacts != Artifacts([*wanted, artifact(99)])


def test_a_list_file_holds_at_most_ten_thousand(store, monkeypatch):
    monkeypatch.setattr(lists_module, "_ENDS", ("none",))
    listed = commit(store, [artifact(number) for number in range(10_001)])
    assert [part.count for part in listed.lists] == [10_000, 1]


class TestWhatIsWritten:
    """Only the list files that a change concerns."""

    @pytest.fixture
    def first(self, store):
        made = [artifact(number) for number in range(MANY)]
        assert len(commit(store, made).lists) > 2
        return made

    def changed(self, store, artifacts) -> tuple[int, int]:
        """How many list files a commit writes, and how many artifacts these hold."""
        before = written(store)
        listed = commit(store, artifacts)
        assert list(listed) == artifacts
        assert {f"{part.sha256}.parquet" for part in listed.lists} <= written(store)
        new = written(store) - before
        return len(new), sum(part.count for part in listed.lists if f"{part.sha256}.parquet" in new)

    def test_an_appended_artifact_writes_the_last_list(self, store, first):
        count, held = self.changed(store, [*first, artifact(MANY)])
        assert count == 1 and held < MANY / 2

    @pytest.mark.parametrize("place", [0, 1000, MANY - 1])
    def test_an_artifact_that_is_added_or_changed_or_removed_writes_its_list(self, store, first, place):
        for middle in ([artifact(place, "other")], [], [artifact(10**5), first[place]]):
            count, held = self.changed(store, [*first[:place], *middle, *first[place + 1 :]])
            assert count <= 2 and held < MANY

    def test_the_same_artifacts_write_nothing(self, store, first):
        assert self.changed(store, first) == (0, 0)

    def test_what_the_former_snapshot_loaded_is_not_looked_at(self, store, first, monkeypatch):
        former = store.current()
        listed = former.tables["notes"].partitions
        listed.load()
        seen = []
        content = lists_module._content
        monkeypatch.setattr(lists_module, "_content", lambda some: seen.extend(some) or content(some))
        grown = [*listed, artifact(MANY)]
        store.commit(manifest(grown), former=former)
        assert seen == grown[-len(seen) :] and len(seen) == listed.lists[-1].count + 1
        assert list(store.current().tables["notes"].partitions) == grown

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.data())
    def test_lists_are_the_same_whether_the_former_ones_were_loaded(self, tmp_path_factory, data):
        """Files end where they would without a former snapshot, whatever is added, removed or moved."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lists_module, "_ENDS", tuple("0"))
            patch.setattr(lists_module, "_MOST", 5)
            store = Store(tmp_path_factory.mktemp("lists") / "memory")
            store.prepare()
            commit(store, [artifact(number) for number in range(40)])
            former = store.current()
            former.tables["notes"].partitions.load()
            parts = [*former.tables["notes"].partitions, *(artifact(number) for number in range(40, 45))]
            changed = data.draw(st.lists(st.sampled_from(parts), unique_by=id, min_size=1, max_size=45))
            moved = [*parts[:9], *(part for part in changed if part not in parts[:9])]
            runs = data.draw(st.sampled_from([changed, parts, parts[:-7], parts[3:], moved]))
            listed = store.listed(manifest(runs), former).tables["notes"].partitions
            wanted = store.listed(manifest(runs), None).tables["notes"].partitions
            assert listed.lists == wanted.lists and list(listed) == runs

    def test_files_of_another_content_are_another_list(self, store, first):
        file = first[0].files[0].model_copy(update={"sha256": "0" * 64})
        assert self.changed(store, [first[0].model_copy(update={"files": (file,)}), *first[1:]])[0] == 1

    def test_opening_reads_no_list(self, store, first):
        for name in written(store):
            (store.root / "snapshots" / "lists" / name).unlink()
        table = Store(store.root).current().tables["notes"]
        assert (len(table.partitions), table.rows) == (MANY, sum(one.rows for one in first))

    def test_a_disk_without_room_for_a_list_leaves_the_former_snapshot(self, store, first, monkeypatch):
        def refuse(path, data):
            raise OSError(28, "No space left on device", path)

        before = store.current()
        with monkeypatch.context() as patch, pytest.raises(CommitFailedError, match="No space left"):
            patch.setattr(store.files, "put", refuse)
            store.commit(manifest([artifact(MANY)]), former=before)
        assert Store(store.root).current() == before


class TestDamage:
    @pytest.fixture
    def damaged(self, store):
        """A memory whose first list file is damaged, and its artifacts."""
        made = [artifact(number) for number in range(MANY)]
        part = commit(store, made).lists[0]
        (store.root / part.path).write_bytes(b"damaged")
        return store.root / part.path, part.count, made

    def test_what_a_damaged_list_names_is_not_served(self, store, damaged):
        path, count, made = damaged
        listed = Store(store.root).current().tables["notes"].partitions
        with pytest.raises(CorruptFileError, match=f"{path}: differs from its checksum; run the build again"):
            next(iter(listed))
        assert listed[count] == made[count]
        path.unlink()
        with pytest.raises(CorruptFileError, match=f"{path}: missing; run the build again"):
            next(iter(listed))

    def test_a_build_goes_on_without_it_and_writes_it_again(self, store, damaged):
        path, count, made = damaged
        former = store.found()
        assert list(former.tables["notes"].partitions) == made[count:]
        store.commit(manifest(made), former=former)
        assert list(Store(store.root).current().tables["notes"].partitions) == made
        assert list(next(iter(store.history(store.current()))).tables["notes"].partitions) == made
        assert path.read_bytes() != b"damaged"
