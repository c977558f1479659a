"""Work of a unit that is kept while it is computed: what a later try finds of it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_memory import build_inline, write_corpus
from workshop import Workshop

from mnemodex.indexers.encoders.local import Encoder
from mnemodex.pipelines.ops import checkpoint as module
from mnemodex.pipelines.ops.checkpoint import Checkpoint
from mnemodex.pipelines.vectors.encode import EncodeSettings
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.sections import Embedding
from mnemodex.schemas.steps import Read, Step
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import CHUNKS, TableKey


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "memory")
    made.prepare()
    return made


@pytest.fixture
def at_once(monkeypatch):
    """Every batch is written as soon as it is added."""
    monkeypatch.setattr(module, "SECONDS", -1.0)


def batch(*numbers):
    return pa.record_batch({"row": pa.array(numbers, pa.int64())})


def kept(store, name="f"):
    """The rows of each batch that a new try finds."""
    return [found["row"].to_pylist() for found in Checkpoint(store, name).load()]


def files(store, name="f"):
    return sorted((store.root / "work" / "partial").glob(f"{name}-*"))


def test_nothing_is_kept_before_anything_is_added(store):
    assert kept(store) == []


@pytest.mark.usefixtures("at_once")
class TestKept:
    def test_batches_come_back_in_their_order(self, store):
        made = Checkpoint(store, "f")
        for numbers in ([3, 1], [], [2]):
            made.add(batch(*numbers))
        assert kept(store) == [[3, 1], [], [2]]

    def test_a_second_try_goes_on_behind_the_first(self, store):
        for numbers in range(12):
            Checkpoint(store, "f").add(batch(numbers))
        assert kept(store) == [[number] for number in range(12)]

    def test_units_are_kept_apart(self, store):
        Checkpoint(store, "f").add(batch(1))
        Checkpoint(store, "g").add(batch(2))
        assert (kept(store, "f"), kept(store, "g"), kept(store, "h")) == ([[1]], [[2]], [])

    def test_what_is_removed_is_forgotten(self, store):
        made = Checkpoint(store, "f")
        made.add(batch(1))
        made.remove()
        assert kept(store) == [] and list(store.files.list("work")) == []
        Checkpoint(store, "never").remove()

    def test_a_damaged_file_counts_as_none_and_the_others_stay(self, store):
        for number in range(3):
            Checkpoint(store, "f").add(batch(number))
        damaged = files(store)[1]
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
        assert kept(store) == [[0], [2]]

    @pytest.mark.parametrize("content", [b"", b"no Arrow at all"])
    def test_a_file_that_was_cut_off_or_replaced_counts_as_none(self, store, content):
        for number in range(2):
            Checkpoint(store, "f").add(batch(number))
        files(store)[0].write_bytes(content)
        assert kept(store) == [[1]]

    def test_strange_files_are_passed_over(self, store):
        Checkpoint(store, "f").add(batch(1))
        (files(store)[0].parent / "notes.txt").write_text("a note")
        assert kept(store) == [[1]]

    def test_what_is_added_after_a_damage_takes_no_others_place(self, store):
        for number in range(3):
            Checkpoint(store, "f").add(batch(number))
        files(store)[0].unlink()
        Checkpoint(store, "f").add(batch(3))
        assert sorted(kept(store)) == [[1], [2], [3]]


def test_some_seconds_lie_between_two_writes(store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    made = Checkpoint(store, "f")
    for seconds in (0, 10, 19):
        now[0] = 100.0 + seconds
        made.add(batch(seconds))
    assert kept(store) == []
    now[0] += 2
    made.add(batch(21))
    assert kept(store) == [[0], [10], [19], [21]] and len(files(store)) == 1
    now[0] += 5
    made.add(batch(26))
    assert len(kept(store)) == 4


@given(
    tries=st.lists(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=4), max_size=4),
    damaged=st.sets(st.integers(0, 15)),
)
def test_whatever_is_damaged_the_rest_is_found_in_order(tmp_path_factory, tries, damaged):
    store = Store(tmp_path_factory.mktemp("memory"))
    written = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SECONDS", -1.0)
        for batches in tries:
            made = Checkpoint(store, "f")
            for numbers in batches:
                made.add(batch(*numbers))
                written.append(numbers)
    for place in damaged:
        if place < len(written):
            path = files(store)[place]
            path.write_bytes(path.read_bytes()[:-1])
    assert kept(store) == [numbers for place, numbers in enumerate(written) if place not in damaged]


ROWS = [
    {"chunk_id": n, "doc_id": n, "ordinal": 0, "start": 0, "end": 1, "title": "", "text": f"Gull {n}", "tokens": 2}
    for n in range(6)
]
EMBED = Step(
    "embeddings/minilm",
    "mnemodex.pipelines.vectors.encode:EncodeOp",
    (Read(CHUNKS),),
    (TableKey("embeddings", "minilm"),),
    EncodeSettings(encoder=Embedding(), of="chunks", name="minilm"),
)


@pytest.mark.usefixtures("at_once")
def test_a_unit_that_was_cut_off_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.vectors.encode._WINDOW", 2)
    shop = Workshop(tmp_path / "memory")
    chunks = [shop.table(CHUNKS, ROWS)]
    (whole,) = shop.run(EMBED, chunks, name="whole")
    encoded, most, real = [], 4, Encoder._features

    def features(self, encodings, lengths, rows):
        if sum(encoded) == most:
            raise StageFailedError("cut off")
        encoded.append(len(rows))
        return real(self, encodings, lengths, rows)

    monkeypatch.setattr(Encoder, "_features", features)
    with pytest.raises(StageFailedError, match="cut off"):
        shop.run(EMBED, chunks, name="half")
    assert encoded == [2, 2] and len(files(shop.store, "half")) == 2
    encoded.clear()
    (made,) = shop.run(EMBED, chunks, name="half")
    assert encoded == [2]
    assert shop.read(made).equals(shop.read(whole))
    assert list(shop.store.files.list("work/partial")) == [] == list((tmp_path / "memory/work").glob("attempt-*"))


@pytest.mark.usefixtures("at_once")
def test_a_build_leaves_nothing_of_it_behind(tmp_path):
    write_corpus(tmp_path / "source", "a.jsonl", range(4))
    assert build_inline(tmp_path / "source", tmp_path / "memory", {"flat": {"type": "dense"}}).committed
    assert not list(tmp_path.glob("memory/work/partial/*"))
