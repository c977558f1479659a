"""A memory in an object store, from its build to its collection."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from library import records, words_recipe, write_jsonl, write_triples

import mnemodex
from mnemodex.pipelines import run, unchanged
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CommitFailedError, CorruptFileError, ObjectStoreError
from mnemodex.schemas.store.store import Store, open_store
from mnemodex.schemas.tables import CHUNKS


@pytest.fixture
def notes(tmp_path):
    return write_jsonl(tmp_path / "notes" / "notes.jsonl", records())


@pytest.fixture
def url(bucket, notes, inline):
    mnemodex.build(words_recipe(notes, f"{bucket}/memories/notes"))
    return f"{bucket}/memories/notes"


def first_keys(memory, question="the harbour master of Olme"):
    return memory.retriever("words").search([question], k=3).to_arrow().column("key").to_pylist()


def test_it_answers_as_the_same_memory_in_a_folder(url, notes, tmp_path, cli):
    mnemodex.build(words_recipe(notes, tmp_path / "memory"))
    local, there = mnemodex.open(tmp_path / "memory"), mnemodex.open(url)
    asked = [memory.retriever("words").search(["harbour tides", "oak table"], k=5) for memory in (local, there)]
    assert asked[0].ids.tolist() == asked[1].ids.tolist()
    assert asked[0].scores.tolist() == asked[1].scores.tolist()
    assert there.sql("SELECT count(*) FROM documents").fetchall() == [(len(records()),)]
    found = cli("search", url, "words", "harbour tides", "-k", "1")
    assert (found.code, "Harbour" in found.out) == (0, True)
    assert verify(url).problems == []


def test_a_file_that_is_gone_is_computed_again_by_a_memory_of_many_partitions(bucket, notes, inline, monkeypatch):
    monkeypatch.setattr(unchanged, "MANY", 1)
    recipe = words_recipe(notes, f"{bucket}/memory")
    mnemodex.build(recipe)
    with pytest.MonkeyPatch.context() as patch:
        # No plan is made.
        patch.setattr(run, "declarations", None)
        mnemodex.build(recipe)
    store, manifest = open_store(f"{bucket}/memory")
    (part, *_) = manifest.tables[CHUNKS.label].partitions
    store.files.delete_all([part.file(".parquet").path])
    inline.computed = 0
    mnemodex.build(recipe)
    assert inline.computed > 0
    assert verify(f"{bucket}/memory").problems == []


def test_it_is_changed_and_collected(url, notes, cli):
    memory = mnemodex.open(url)
    assert memory.add([{"id": "zebra", "title": "Zebra", "text": "Zebras have stripes."}]) == 1
    assert first_keys(memory, "zebras stripes")[0] == "zebra"
    assert memory.delete(["zebra"]) == 1
    assert "zebra" not in first_keys(memory, "zebras stripes")
    assert memory.compact()
    refused = cli("gc", url, "--keep", "1")
    assert (refused.code, "--older-than" in refused.err) == (2, True)
    young = cli("gc", url, "--older-than", "1h")
    assert (young.code, "0 snapshots and 0 files" in young.out) == (0, True)
    assert cli("gc", url, "--older-than", "0s").code == 0
    assert Store(url).kept() == ["000004"]
    assert verify(url).problems == []


def test_who_has_a_snapshot_open_that_was_collected_is_told_to_open_again(url, cli):
    memory = mnemodex.open(url)
    mnemodex.open(url).add([{"id": "zebra", "title": "Zebra", "text": "Zebras have stripes."}])
    assert cli("gc", url, "--older-than", "0s").code == 0
    shutil.rmtree(memory.snapshot.store.files.scratch.parent.parent / "sha256")
    (memory.snapshot.store.files.scratch.parent.parent / "sha256").mkdir()
    with pytest.raises(CorruptFileError, match="missing; if `gc` removed its snapshot, open the memory again"):
        memory.retriever("words").search(["zebra"], k=1)
    assert first_keys(mnemodex.open(url), "zebras stripes")[0] == "zebra"


def test_indexes_that_are_masked_lose_a_document_there_as_in_a_folder(bucket, notes, tmp_path, inline):
    triples = {"triples": {"from": str(write_triples(tmp_path / "triples.jsonl", records()))}}
    indexes = {"ngrams": {"type": "ngram"}, "dense": {"type": "dense"}, "graph": {"type": "graph"}}
    asked = {}
    for place in (tmp_path / "memory", f"{bucket}/masked"):
        mnemodex.build({**words_recipe(notes, place), **triples, "indexes": indexes})
        memory = mnemodex.open(place)
        assert memory.delete([records()[0]["id"]]) == 1
        asked[place] = [memory.retriever(name).search(["harbour tides"], k=5).ids.tolist() for name in indexes]
        asked[place].append(memory.sql("SELECT * FROM entities ORDER BY entity_id").fetchall())
        assert verify(place).problems == []
    there, local = asked.values()
    assert there == local


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_what_a_store_does_not_give_for_a_moment_is_no_damage(url, proxy, kind):
    def refuse(method, path):
        hit = method == "GET" and "/tables/chunks/" in path and path.endswith(kind) and not refused
        refused.extend([path] * hit)
        return "refuse" if hit else None

    refused, proxy.harm = [], refuse
    with pytest.raises(ObjectStoreError, match="refuses the credentials"):
        verify(url)
    assert refused


def test_a_build_of_the_same_source_commits_nothing(url, notes, inline):
    inline.computed = 0
    # A path has but one slash.
    again = mnemodex.build(words_recipe(notes, Path(url)))
    assert (again.committed, inline.computed, str(again.memory)) == (False, 0, url)


def test_a_memory_that_was_copied_there_is_read(bucket, notes, tmp_path, inline):
    mnemodex.build(words_recipe(notes, tmp_path / "memory"))
    files = Store(f"{bucket}/copied").files
    for path in sorted((tmp_path / "memory").rglob("*")):
        if path.is_file():
            files.put(path.relative_to(tmp_path / "memory").as_posix(), path)
    shutil.rmtree(tmp_path / "memory")
    assert first_keys(mnemodex.open(f"{bucket}/copied"))[0].startswith("harbour")
    assert verify(f"{bucket}/copied").problems == []


def test_a_build_that_loses_the_race_for_a_snapshot_changes_nothing(url, notes, monkeypatch):
    commit = Store.commit

    def late(self, manifest, *, former):
        commit(Store(url), former, former=former)
        return commit(self, manifest, former=former)

    monkeypatch.setattr(Store, "commit", late)
    write_jsonl(notes, records()[1:])
    with pytest.raises(CommitFailedError, match="another writer committed first"):
        mnemodex.build(words_recipe(notes, url))
    store, current = open_store(url)
    assert (current.name, store.kept()) == ("000002", ["000001", "000002"])
    assert mnemodex.open(url).sql("SELECT count(*) FROM documents").fetchall() == [(len(records()),)]
    assert verify(url).problems == []
