"""Rows of the current snapshot by their ids: which are known, where they are, and what a damaged file costs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import Workshop

from mnemodex.pipelines.ops.base import NoSettings, Stage
from mnemodex.pipelines.ops.former import Former, former_folder, write_former
from mnemodex.schemas.manifest import TableEntry
from mnemodex.schemas.steps import Read, Step
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import CHUNKS, SYNONYMS, TableKey, TableSpec, spec_of

KEY = TableKey("embeddings", "m")
SPEC = spec_of(KEY).sized(2)
FOLDER = former_folder("work/run", "embeddings/m")


def vector(number):
    """The vector of an id."""
    return [float(number), float(-number)]


@pytest.fixture
def shop(tmp_path):
    return Workshop(tmp_path / "memory")


def partition(shop, label, *ids):
    return shop.table(KEY, [{"chunk_id": number, "vector": vector(number)} for number in ids], label, spec=SPEC)


def former(shop, *parts):
    """What workers see of a table; they have looked at no file of it yet."""
    write_former(shop.store, FOLDER, TableEntry(name=KEY.label, partitions=parts), "chunk_id")
    return Former(Store(shop.store.root), FOLDER)


def damage(shop, artifact, ending):
    path = shop.store.root / artifact.file(ending).path
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def filled(found, ids):
    """Which ids were filled in, and the matrix; what is missing stays -1."""
    target = np.full((len(ids), 2), -1.0, np.float32)
    return found.fill(found.find(np.array(ids, np.int64)), target).tolist(), target.tolist()


MISSING = [-1.0, -1.0]


class TestFind:
    def test_known_ids_are_found_in_any_order(self, shop):
        found = former(shop, partition(shop, "p", 5, 3), partition(shop, "q", 9))
        known = found.find(np.array([9, 4, 3, 5, 9], np.int64))
        assert known.known.tolist() == [True, False, True, True, True]
        assert known.partition[known.known].tolist() == [1, 0, 0, 1]
        assert known.row[known.known].tolist() == [0, 1, 0, 0]

    @pytest.mark.parametrize("ids", [[], [1, 2, 3]])
    def test_a_table_without_rows_knows_nothing(self, shop, ids):
        for found in (former(shop), former(shop, partition(shop, "p"))):
            assert found.find(np.array(ids, np.int64)).known.tolist() == [False] * len(ids)
            assert filled(found, ids) == ([False] * len(ids), [MISSING] * len(ids))

    def test_ids_beyond_both_ends_are_not_known(self, shop):
        found = former(shop, partition(shop, "p", 5, 3))
        assert found.find(np.array([-9, 2, 6, 1 << 62], np.int64)).known.tolist() == [False] * 4


class TestFill:
    def test_rows_are_put_where_their_ids_are(self, shop):
        found = former(shop, partition(shop, "p", 5, 3), partition(shop, "q", 9))
        assert filled(found, [9, 4, 3, 5]) == (
            [True, False, True, True],
            [vector(9), MISSING, vector(3), vector(5)],
        )

    def test_a_partition_that_was_damaged_before_is_as_if_it_were_not_there(self, shop):
        first, second = partition(shop, "p", 5, 3), partition(shop, "q", 9)
        damage(shop, first, ".parquet")
        shop.store.files._trusted.clear()
        found = former(shop, first, second)
        assert found.find(np.array([5, 9], np.int64)).known.tolist() == [False, True]
        assert filled(found, [5, 9]) == ([False, True], [MISSING, vector(9)])

    @pytest.mark.parametrize("how", ["damaged", "gone", "no marker", "damaged marker"])
    def test_a_matrix_that_is_damaged_since_is_left_out(self, shop, how):
        first, second = partition(shop, "p", 5, 3), partition(shop, "q", 9)
        found = former(shop, first, second)
        matrix, marker = (shop.store.root / path for path in (first.file(".npy").path, first.marker))
        if how == "damaged":
            damage(shop, first, ".npy")
        elif how == "gone":
            matrix.unlink()
        elif how == "no marker":
            marker.unlink()
        else:
            marker.write_text("{")
        assert filled(found, [3, 9, 5]) == ([False, True, False], [MISSING, vector(9), MISSING])

    def test_columns_are_read_too(self, shop):
        found = former(shop, partition(shop, "p", 5, 3), partition(shop, "q", 9))
        target = np.full(4, -1, np.int64)
        found.values(found.find(np.array([9, 4, 3, 5], np.int64)), "chunk_id", target)
        assert target.tolist() == [9, -1, 3, 5]

    def test_a_column_of_a_damaged_partition_is_left_out(self, shop):
        first, second = partition(shop, "p", 5), partition(shop, "q", 9)
        found = former(shop, first, second)
        damage(shop, first, ".parquet")
        target = np.full(2, -1, np.int64)
        assert found.values(found.find(np.array([5, 9], np.int64)), "chunk_id", target).tolist() == [False, True]
        assert target.tolist() == [-1, 9]


class Doubled(Stage):
    """Twice every id; tells which ids it was given."""

    columns = ("chunk_id",)
    table = TableSpec(pa.schema([("chunk_id", pa.int64()), ("twice", pa.int64())]), id_column="chunk_id")
    given: ClassVar[list[int]] = []

    def run(self, batches):
        for batch in batches:
            self.given.extend(batch["chunk_id"].to_pylist())
            yield pa.record_batch([batch["chunk_id"], pc.multiply(batch["chunk_id"], 2)], schema=self.table.schema)


class TestStages:
    """A stage whose step reuses rows is given only those that are new."""

    STEP = Step("twice", "test_former:Doubled", (Read(KEY),), (TableKey("twice"),), NoSettings(), reuse="chunk_id")

    def run(self, shop, *ids, former=()):
        Doubled.given.clear()
        if former:
            entry = TableEntry(name="twice", partitions=former)
            write_former(shop.store, former_folder(shop.files.run, "twice"), entry, "chunk_id")
        (made,) = shop.run(self.STEP, [partition(shop, "p", *ids)])
        assert shop.read(made)["twice"].to_pylist() == [2 * number for number in ids]
        return made

    def test_rows_keep_the_order_of_the_input(self, shop):
        first, second = self.run(shop, 5, 3, 4), self.run(shop, 9, 7)
        assert Doubled.given == [9, 7]
        made = self.run(shop, 7, 8, 4, 6, 5, former=(first, second))
        assert (Doubled.given, made.stats.reused) == ([8, 6], 3)
        made = self.run(shop, 3, 9, former=(first, second))
        assert (Doubled.given, made.stats.reused) == ([], 2)

    def test_those_of_a_damaged_partition_are_computed(self, shop):
        first, second = self.run(shop, 5, 3), self.run(shop, 9, 7)
        damage(shop, second, ".parquet")
        shop.store.files._trusted.clear()
        made = self.run(shop, 7, 5, 9, former=(first, second))
        assert (Doubled.given, made.stats.reused) == ([7, 9], 1)


class TestPartitions:
    def synonyms(self, shop, label, *pairs):
        rows = [{"source_id": a, "target_id": b, "weight": 0.9, "kept": True} for a, b in pairs]
        return shop.table(SYNONYMS, rows, label)

    def listed(self, shop, *parts):
        write_former(shop.store, FOLDER, TableEntry(name=SYNONYMS.label, partitions=parts))
        return Former(Store(shop.store.root), FOLDER)

    def test_all_files_are_given_in_order(self, shop):
        first, second = self.synonyms(shop, "p", (1, 2)), self.synonyms(shop, "q", (3, 4))
        paths = [shop.store.root / part.file(".parquet").path for part in (first, second)]
        assert self.listed(shop, first, second).partitions() == paths

    def test_none_is_given_where_one_is_damaged(self, shop):
        first, second = self.synonyms(shop, "p", (1, 2)), self.synonyms(shop, "q", (3, 4))
        found = self.listed(shop, first, second)
        damage(shop, second, ".parquet")
        assert found.partitions() == []

    def test_stats_are_those_of_the_first_one(self, shop):
        first = self.synonyms(shop, "p", (1, 2))
        assert self.listed(shop, first).stats() == first.stats
        assert self.listed(shop).stats().seconds == 0


def test_without_a_list_there_is_nothing(shop):
    nothing = Former(shop.store, former_folder("work/run", "other"))
    assert not nothing and nothing.partitions() == [] and nothing.stats().reused == 0
    assert former(shop, partition(shop, "p", 1))


def test_every_step_and_what_it_reads_has_a_folder_of_its_own():
    folders = [former_folder("run", *names) for names in (("a",), ("a", "b"), ("a", "c"), ("b",), ("ab",))]
    assert len(set(folders)) == 5 and all(folder.startswith("run/former/") for folder in folders)


class TestTake:
    def test_all_rows_of_an_id_are_taken_in_their_order(self, shop):
        def chunks(label, *rows):
            given = {"title": "", "text": "", "tokens": 1, "start": 0, "end": 0}
            made = [{"chunk_id": c, "doc_id": d, "ordinal": n, **given} for n, (d, c) in enumerate(rows)]
            return shop.table(CHUNKS, made, label)

        entry = TableEntry(
            name="chunks", partitions=(chunks("p", (7, 1), (7, 2), (8, 3)), chunks("q", (9, 4), (9, 5), (9, 6)))
        )
        write_former(shop.store, FOLDER, entry, "doc_id")
        found = Former(Store(shop.store.root), FOLDER)
        rows = found.take(np.array([9, 7, 1], np.int64), spec_of(CHUNKS).schema)
        assert list(zip(rows["doc_id"].to_pylist(), rows["chunk_id"].to_pylist(), strict=True)) == [
            (7, 1), (7, 2), (9, 4), (9, 5), (9, 6),
        ]  # fmt: skip
        assert found.find(np.array([9], np.int64)).row.tolist() == [0]


def test_ids_are_sorted_once_for_all_workers(shop, monkeypatch):
    first = former(shop, partition(shop, "p", 5, 3))
    other = Former(Store(shop.store.root), FOLDER)
    assert first.find(np.array([3], np.int64)).known.all()
    monkeypatch.setattr(Former, "_sort_ids", lambda self, *given: pytest.fail("sorted again"))
    assert other.find(np.array([5], np.int64)).known.all()


ids = st.integers(-3, 40).map(lambda number: number if number < 9 else number << 57)


@pytest.mark.parametrize("bucket_rows", [4 << 20, 3])
@settings(max_examples=40)
@given(
    tables=st.lists(st.lists(ids, unique=True, max_size=6), max_size=5),
    asked=st.lists(ids, max_size=20),
    data=st.data(),
)
def test_what_is_filled_in_is_what_a_dictionary_says(tmp_path_factory, bucket_rows, tables, asked, data):
    shop = Workshop(tmp_path_factory.mktemp("memory"))
    seen, parts = set(), []
    for number, rows in enumerate(tables):
        # An id is in a table once.
        parts.append(partition(shop, f"p{number}", *(row for row in rows if row not in seen)))
        seen |= set(rows)
    found = former(shop, *parts)
    broken = data.draw(st.sets(st.integers(0, len(parts) - 1)) if parts else st.just(set()), "damaged")
    for number in broken:
        damage(shop, parts[number], ".npy")
    gone = {
        row for number in broken for row in tables[number] if not any(row in earlier for earlier in tables[:number])
    }
    there = [row in seen - gone for row in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnemodex.pipelines.ops.former._BUCKET_ROWS", bucket_rows)
        assert filled(found, asked) == (
            there,
            [vector(row) if known else MISSING for row, known in zip(asked, there, strict=True)],
        )
