"""Packing: small files share splits, splits grow with the source, and a change changes what is near it."""

from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sources import items, opened

from mnemodex.pipelines.sources.base import Piece
from mnemodex.pipelines.sources.packing import Packing, group, pack


def pieces_of(names, size=10):
    return [Piece(name, 0, size, 1, f"sha of {name}") for name in sorted(names)]


@pytest.mark.parametrize("size", [1, 300])
def test_a_file_added_anywhere_changes_only_few_splits(size):
    generator = random.Random(7)
    packing = Packing(rows=32, bytes=10_000, most=2)
    changed = []
    for _ in range(60):
        names = {f"{generator.randrange(10**9):09}.txt" for _ in range(1500)}
        added = f"{generator.randrange(10**9):09}.txt"
        old = set(pack(pieces_of(names, size), packing))
        changed.append(len(set(pack(pieces_of(names | {added}, size), packing)) - old))
        assert len(old) > 25
    assert min(changed) == 1 and np.mean(changed) < 5


@given(
    sizes=st.lists(st.integers(0, 2000), max_size=300),
    rows=st.integers(1, 20),
    size=st.integers(1, 5000),
    most=st.sampled_from([1, 2, 64]),
)
def test_splits_hold_every_piece_once_and_are_bounded(sizes, rows, size, most):
    packing = Packing(rows=rows, bytes=size, most=most)
    pieces = [Piece(f"{place:04}.txt", 0, length, 1, "") for place, length in enumerate(sizes)]
    splits = list(pack(pieces, packing))
    assert [piece for split in splits for piece in split.pieces] == pieces
    before = 0
    for split, later in zip(splits, [*splits[1:], None], strict=False):
        weight, limit = sum(map(packing.weight, split.pieces)), packing.limit(before)
        assert len(split.pieces) == 1 or weight <= limit
        if later is not None:
            assert weight >= limit * 5 / 8 or weight + packing.weight(later.pieces[0]) > limit
        before += weight


@pytest.mark.parametrize(("before", "times"), [(0, 1), (31, 1), (32, 2), (63, 2), (64, 4), (1023, 32), (1 << 40, 64)])
def test_limits_double_with_what_precedes_them(before, times):
    packing = Packing(rows=10, bytes=7)
    assert packing.limit(before * 70) == times * 70


def test_groups_that_no_key_ends_are_ended_by_their_weight(monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.sources.packing._fraction", lambda key: 10.0)
    groups = list(group(((3, f"{number}", number) for number in range(10)), lambda before: 10 if before < 9 else 12))
    assert [[item for _, item in members] for members in groups] == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]


def test_fifty_thousand_files_of_a_document_are_at_most_sixty_splits():
    splits = list(pack(pieces_of(f"{number:06}.jsonl" for number in range(50_000)), Packing()))
    assert 30 <= len(splits) <= 60
    assert len({split.label for split in splits}) == len(splits)


def test_a_few_thousand_documents_are_a_handful_of_splits():
    assert 3 <= len(list(pack(pieces_of(f"{number:06}.txt" for number in range(4000)), Packing()))) <= 6


def test_splits_of_a_large_file_have_at_most_65536_rows():
    pieces = (Piece("big.jsonl", 10**5 * n, 10**5 * (n + 1), 1024 * n + 1, "", 1024) for n in range(20_000))
    rows = [sum(piece.rows for piece in split.pieces) for split in pack(pieces, Packing())]
    assert max(rows) == 65_536 and min(rows[-50:-1]) >= 65_536 * 5 / 8 and len(rows) < 600


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".txt"])
def test_small_files_of_every_format_share_a_split(tmp_path, ending):
    for number in range(40):
        line = b'{"id": "%d", "text": "a"}\n' % number
        (tmp_path / f"{number:02}{ending}").write_bytes(gzip.compress(line) if ending.endswith("gz") else line)
    source = opened(tmp_path, rows=100)
    (split,) = source.plan()
    assert split.label == f"00{ending}-00000"
    assert [record.source for record in items(source)] == [f"{number:02}{ending}" for number in range(40)]


def test_pieces_of_a_large_file_are_packed_with_the_small_files_beside_it(tmp_path):
    for name, count in (("a.jsonl", 3), ("b.jsonl", 25), ("c.jsonl", 3)):
        rows = (f'{{"id": "{name} {number}", "text": "x"}}\n' for number in range(count))
        (tmp_path / name).write_text("".join(rows))
    splits = opened(tmp_path, rows=10).plan()
    assert [[(piece.path, piece.first_line) for piece in split.pieces] for split in splits] == [
        [("a.jsonl", 1)],
        [("b.jsonl", 1)],
        [("b.jsonl", 11)],
        [("b.jsonl", 21), ("c.jsonl", 1)],
    ]
    assert [split.label for split in splits] == ["a.jsonl-00000", "b.jsonl-00000", "b.jsonl-00001", "b.jsonl-00002"]
