"""Every file of a memory, damaged in every way: `verify` finds it, and no answer is made of it."""

from __future__ import annotations

import functools
import os
from itertools import cycle

import pytest
from damage import DAMAGES, Folder
from small_memory import answers, build_small

from mnemodex.indexers.encoder import Encoder
from mnemodex.pipelines.verify import verify
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import CorruptFileError, MnemodexError


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Folder(build_small(tmp_path_factory.mktemp("damage")))


@pytest.fixture(scope="module")
def one_encoder():
    """Load the model once for all the memories that are opened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnemodex.indexers.encoder.Encoder", functools.cache(Encoder))
        yield


def found_by_verify(root):
    try:
        return bool(verify(root).problems)
    except MnemodexError:
        return True


def test_the_small_memory_is_sound_and_has_every_kind_of_file(small):
    assert verify(small.root).problems == []
    kinds = {".".join(file.rpartition("/")[2].split(".")[1:]) for file in small.files()}
    assert {"faiss", "hnsw", "npz", "npy", "json"} <= kinds
    tables = {file.split("/")[1] for file in small.files() if file.startswith("tables/")}
    assert tables == {"documents", "chunks", "embeddings", "errors"}
    assert sum(file.startswith("snapshots/") for file in small.files()) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds_every_damaged_file(small, damage):
    overlooked = []
    for file in small.files():
        # A plan is a memo of the source: without it, the source is planned again.
        if damage == "missing" and file.startswith("work/plan-"):
            continue
        with small.damaged(file, damage):
            if not found_by_verify(small.root):
                overlooked.append(file)
    assert overlooked == []


def test_no_answer_is_made_of_a_damaged_file(small, one_encoder):
    sound = answers(small.root)
    assert not [name for name, answer in sound.items() if isinstance(answer, MnemodexError)]
    wrong = []
    others = cycle(name for name in DAMAGES if name != "some byte")
    for file in small.files():
        for damage in ("some byte", next(others)):
            with small.damaged(file, damage) as path:
                for name, answer in answers(small.root).items():
                    named = isinstance(answer, MnemodexError) and str(path) in str(answer)
                    if not named and answer != sound.get(name):
                        wrong.append((file, damage, name, answer))
    assert wrong == []
    assert answers(small.root) == sound


def test_a_flip_with_the_old_time_is_seen_by_a_snapshot_that_trusted_the_file(small):
    snapshot = Snapshot.open(small.root)
    (label, *_) = [part.label for part in snapshot.manifest.tables["chunks"].partitions]
    trusted = snapshot.path("chunks", label)
    file = trusted.relative_to(small.root).as_posix()
    before = trusted.stat()
    with small.damaged(file, "some byte"):
        assert (trusted.stat().st_size, trusted.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        with pytest.raises(CorruptFileError, match="differs from its checksum"):
            snapshot.path("chunks", label)


def test_a_link_out_of_the_memory_is_no_file_of_it(small, tmp_path):
    file = next(file for file in small.files() if file.startswith("tables/chunks/") and file.endswith(".parquet"))
    path = small.root / file
    copy = tmp_path / "elsewhere.parquet"
    path.rename(copy)
    try:
        path.symlink_to(copy)
        assert any("leads out of the memory" in problem and file in problem for problem in verify(small.root).problems)
        assert "leads out of the memory" in str(answers(small.root)["sql chunks"])
        path.unlink()
        path.symlink_to(path.parent / os.path.relpath(tmp_path / "gone", path.parent))
        assert any(file in problem for problem in verify(small.root).problems)
    finally:
        path.unlink()
        copy.rename(path)
    assert verify(small.root).problems == []
