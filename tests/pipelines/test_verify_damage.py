"""Every file of a memory, damaged in every way: `verify` finds it, and no answer is made of it."""

from __future__ import annotations

from itertools import chain, cycle, zip_longest
from pathlib import Path

import pytest
from damage import DAMAGES, Folder, is_right, problems
from small_memory import answers, encode_once

from mnemodex.pipelines.verify import verify
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import CorruptFileError, MnemodexError
from mnemodex.schemas.store.store import open_store


@pytest.fixture(scope="module")
def small(small_memory):
    """The memory itself: whatever is damaged is made whole again at once."""
    return Folder(small_memory / "memory")


@pytest.fixture(scope="module")
def one_encoder():
    """One loaded model, and one encoding of each question, for all the memories that are opened."""

    with pytest.MonkeyPatch.context() as patch:
        encode_once(patch)
        yield


def is_marker(file: str) -> bool:
    of_shard = file.startswith("indexes/") and file.count("/") == 2
    return file.endswith(".json") and (of_shard or file.startswith(("tables/", "work/plan/")))


def caches_of(root: Path) -> tuple[str, ...]:
    """The folders of intermediate results alone."""
    manifest = open_store(root)[1]
    tables = {f"tables/{name}" for name in manifest.tables}
    return tuple(f"{path}/" for path in manifest.caches if path.startswith("tables/") and path not in tables)


def is_list(file: str) -> bool:
    return file.startswith("snapshots/lists/")


def test_the_small_memory_is_sound_and_has_every_kind_of_file(small):
    assert verify(small.root).problems == []
    kinds = {Path(file).suffix for file in small.files()}
    assert kinds == {"", ".arrow", ".faiss", ".hnsw", ".npz", ".npy", ".json", ".jsonl", ".parquet", ".txt"}
    caches = caches_of(small.root)
    assert {"tables/ids/", "tables/repeats/", "tables/triple_lines/"} <= {
        "/".join(path.split("/")[:2]) + "/" for path in caches
    }
    kept = [file for file in small.files() if not file.startswith(caches)]
    tables = {file.split("/")[1] for file in kept if file.startswith("tables/")}
    graph = {"triples", "mentions", "facts", "entities", "synonyms", "edges"}
    states = {"lm_tokens", "lm_states"}
    assert tables == {
        "documents",
        "chunks",
        "embeddings",
        "errors",
        "ngram_pairs",
        "qa_pairs",
        "questions",
        *graph,
        *states,
    }
    snapshots = [file for file in small.files() if file.startswith("snapshots/")]
    assert len([file for file in snapshots if not is_list(file)]) == 2 and any(map(is_list, snapshots))


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_names_every_damaged_file(small, damage):
    files = small.files()
    # Plans are memos of the source, and of the file of triples: without one, its file is read again.
    kept = [file for file in files if file.startswith("work/")]
    plans = [file for file in kept if file.startswith("work/plan/") and not is_marker(file)]
    memos = [] if damage == "missing" else [file for file in kept if file not in plans]
    lists = [file for file in files if is_list(file)]
    alone = [[file] for file in files if file == "CURRENT" or (file.startswith("snapshots/") and not is_list(file))]
    markers = [file for file in files if is_marker(file) and file not in kept]
    others = [file for file in files if file.startswith(("tables/", "indexes/")) and not is_marker(file)]
    for group in (*alone, lists, memos, plans, markers, others):
        with small.damaged(*group, damage=damage) as damaged:
            found = problems(small.root)
        if damage == "missing" and group is markers:
            # Nothing tells that there was a marker, but for the result's files that are there without one.
            damaged = [path.removesuffix(".json") for path in damaged]
        assert [path for path in damaged if not any(path in problem for problem in found)] == []
    named = {*lists, *kept, *markers, *others}
    assert len(files) == len(named) + len(alone)
    assert problems(small.root) == []


@pytest.mark.parametrize("by_turns", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["byte", "others"])
def test_no_answer_is_made_of_a_damaged_file(small, one_encoder, by_turns):
    sound = answers(small.root)
    assert not [name for name, answer in sound.items() if isinstance(answer, MnemodexError)]
    others = cycle(name for name in DAMAGES if name != "some byte")
    wrong = []
    for group in one_of_each_index(small.files(), caches_of(small.root)):
        damage = next(others) if by_turns else "some byte"
        with small.damaged(*group, damage=damage) as damaged:
            given = answers(small.root)
        wrong += [(damage, name) for name, answer in given.items() if not is_right(answer, sound.get(name), damaged)]
    assert wrong == []
    assert answers(small.root) == sound


def one_of_each_index(files: list[str], kept: tuple[str, ...]) -> list[list[str]]:
    """All files: those of different indexes together, which have nothing to do with one another, the others alone.

    No answer reads what is only there for the next build, so that all of it can be damaged at once.
    """
    indexes: dict[str, list[str]] = {}
    caches = [file for file in files if file.startswith((*kept, "work/"))]
    lists = [file for file in files if is_list(file)]
    alone = []
    for file in files:
        if file.startswith("indexes/"):
            indexes.setdefault(file.split("/")[1], []).append(file)
        elif file not in caches and file not in lists:
            alone.append([file])
    together = [[file for file in group if file] for group in zip_longest(*indexes.values())]
    assert sorted(chain.from_iterable([caches, lists, *alone, *together])) == files
    return [caches, lists, *alone, *together]


def test_a_flip_with_the_old_time_is_seen_by_a_snapshot_that_trusted_the_file(small):
    snapshot = Snapshot.open(small.root)
    (label, *_) = [part.label for part in snapshot.manifest.tables["chunks"].partitions]
    trusted = snapshot.path("chunks", label)
    before = trusted.stat()
    with small.damaged(trusted.relative_to(small.root).as_posix(), damage="some byte"):
        assert (trusted.stat().st_size, trusted.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        with pytest.raises(CorruptFileError, match="differs from its checksum"):
            snapshot.path("chunks", label)


def test_a_link_out_of_the_memory_is_no_file_of_it(small, tmp_path, one_encoder):
    path = next((small.root / "tables" / "chunks").glob("*.parquet"))
    copy = tmp_path / "elsewhere.parquet"
    path.rename(copy)
    try:
        path.symlink_to(copy)
        assert [f"{path}: leads out of the memory's folder; remove the link"] == problems(small.root)
        assert "leads out of the memory" in str(answers(small.root)["sql chunks"])
    finally:
        path.unlink(missing_ok=True)
        copy.rename(path)
    assert problems(small.root) == []


def test_links_that_lead_nowhere_are_problems(small):
    link = small.root / "tables" / "chunks" / "link.parquet"
    link.symlink_to("nowhere")
    try:
        assert any(str(link) in problem for problem in problems(small.root))
    finally:
        link.unlink()
