"""The exchange of a snapshot for a newer one while memories are served."""

from __future__ import annotations

import gc
import shutil
import time
import weakref

import pytest
from commands import assert_refused
from small_memory import build_inline, write_corpus
from starlette.testclient import TestClient

from mnemodex.deploy import service as module
from mnemodex.deploy.app import http_app
from mnemodex.deploy.service import Service
from mnemodex.deploy.settings import ServerSettings
from mnemodex.schemas.errors import CorruptFileError

INDEXES = {"flat": {"type": "dense", "factory": "Flat"}, "words": {"type": "bm25"}}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A memory of one snapshot and its source."""
    folder = tmp_path_factory.mktemp("served")
    write_corpus(folder / "source", "a.jsonl", range(6))
    build_inline(folder / "source", folder / "memory", INDEXES)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built, tmp_path / "served", dirs_exist_ok=True)


def grow(folder):
    """Commit another snapshot, with more documents."""
    write_corpus(folder / "source", "b.jsonl", range(6, 12))
    build_inline(folder / "source", folder / "memory", INDEXES)


def damage(folder, pattern):
    """Change a byte of the newest file of a pattern."""
    path = max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def start(folder, **settings):
    service = Service(ServerSettings(memories={"towns": folder / "memory"}, **settings))
    service.warm()
    return service, TestClient(http_app(service.settings, service), base_url="http://127.0.0.1")


def ask(client, index="words"):
    answer = client.post("/v1/search", json={"index": index, "queries": ["Town 7"], "k": 1})
    return answer.json()


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("not within a minute")


class TestReload:
    def test_the_newest_snapshot_is_served(self, folder):
        _, client = start(folder)
        assert ask(client)["snapshot"] == "000001"
        grow(folder)
        assert ask(client)["snapshot"] == "000001"
        (told,) = client.post("/v1/reload", json={}).json()["replicas"]["0"]
        assert told == {"name": "towns", "snapshot": "000002", "changed": True, "problem": None}
        assert ask(client)["hits"][0][0]["key"] == "d7"
        assert ask(client, "flat")["snapshot"] == "000002"

    def test_without_a_newer_one_nothing_changes(self, folder):
        service, client = start(folder)
        before = service.memories.get(None)
        (told,) = client.post("/v1/reload", json={"memory": "towns"}).json()["replicas"]["0"]
        assert not told["changed"] and service.memories.get(None) is before

    def test_a_request_keeps_its_snapshot_and_the_last_one_releases_it(self, folder):
        service, _ = start(folder)
        served = service.memories.get(None)
        memory = weakref.ref(served.memory)
        grow(folder)
        service.reload()
        assert served.retriever("words").search(["Town 1"], 1)[0][0].key == "d1"
        del served
        until(lambda: gc.collect() >= 0 and memory() is None)

    def test_the_encoder_is_kept(self, folder):
        service, _ = start(folder)
        name = next(iter(service.memories.get(None).memory.snapshot.manifest.encoders))
        encoder = service.memories.get(None).memory.encoder(name)
        grow(folder)
        service.reload()
        assert service.memories.get(None).memory.encoder(name) is encoder

    @pytest.mark.parametrize(
        "pattern", ["memory/indexes/words/*/*.npy", "memory/tables/chunks/*.parquet", "memory/snapshots/000002.json"]
    )
    def test_a_damaged_snapshot_is_refused_and_the_former_goes_on(self, folder, pattern):
        _, client = start(folder)
        grow(folder)
        damage(folder, pattern)
        answer = client.post("/v1/reload", json={})
        assert answer.status_code == 409, answer.text
        error = answer.json()["error"]
        assert error["code"] == "snapshot_refused" and str(folder) not in answer.text
        assert ask(client)["snapshot"] == "000001"
        assert client.get("/readyz").json() == {"status": "ready", "problems": 1}
        assert 'mnemodex_reloads_total{memory="towns",replica="0",result="refused"} 1.0' in client.get("/metrics").text

    def test_every_memory_whose_newest_snapshot_is_refused_is_named(self, folder, tmp_path):
        other = shutil.copytree(folder, tmp_path / "other")
        service = Service(ServerSettings(memories={"towns": folder / "memory", "others": other / "memory"}))
        client = TestClient(http_app(service.settings, service), base_url="http://127.0.0.1")
        for each in (folder, other):
            grow(each)
            damage(each, "memory/indexes/words/*/*.npy")
        error = client.post("/v1/reload", json={}).json()["error"]
        assert "towns: snapshot 000002 is refused" in error["message"]
        assert "others: snapshot 000002 is refused" in error["message"]

    def test_a_snapshot_that_was_repaired_is_served(self, folder, tmp_path):
        _, client = start(folder)
        grow(folder)
        shutil.copytree(folder, tmp_path / "copy")
        damage(folder, "memory/indexes/words/*/*.npy")
        assert client.post("/v1/reload", json={}).status_code == 409
        shutil.copytree(tmp_path / "copy", folder, dirs_exist_ok=True)
        assert client.post("/v1/reload", json={}).status_code == 200
        assert ask(client)["snapshot"] == "000002"
        assert client.get("/readyz").json()["problems"] == 0


class TestFollow:
    def test_a_new_snapshot_is_served_by_itself(self, folder, monkeypatch):
        monkeypatch.setattr(module, "_FOLLOW_SECONDS", 0.05)
        service, client = start(folder, follow=True)
        grow(folder)
        until(lambda: ask(client)["snapshot"] == "000002")
        service.close()

    def test_a_damaged_one_is_not_tried_at_every_look(self, folder, monkeypatch, tmp_path):
        grown = shutil.copytree(folder, tmp_path / "grown")
        grow(grown)
        damage(grown, "memory/snapshots/000002.json")
        monkeypatch.setattr(module, "_FOLLOW_SECONDS", 0.05)
        tried = []
        service, client = start(folder, follow=True)
        reload = service.memories.reload
        monkeypatch.setattr(service.memories, "reload", lambda name: tried.append(name) or reload(name))
        shutil.copytree(grown, folder, dirs_exist_ok=True)
        until(lambda: service.memories.problems)
        count = len(tried)
        time.sleep(0.5)
        assert len(tried) <= count + 1 and ask(client)["snapshot"] == "000001"
        service.close()


class TestDamageAtTheStart:
    def test_an_index_with_a_damaged_shard_is_refused_and_others_are_served(self, folder):
        damage(folder, "memory/indexes/words/*/*.npy")
        _, client = start(folder)
        answer = client.post("/v1/search", json={"index": "words", "queries": ["Town 1"]})
        assert answer.status_code == 503 and str(folder) not in answer.text
        assert answer.json()["error"]["code"] == "corrupt"
        assert ask(client, "flat")["hits"]
        (told,) = client.get("/v1/indexes").json()["memories"]
        assert {index["name"]: index["served"] for index in told["indexes"]} == {"flat": True, "words": False}

    @pytest.mark.parametrize("harm", [damage, lambda folder, pattern: next(folder.glob(pattern)).unlink()])
    def test_with_a_damaged_newest_manifest_the_one_before_is_served_and_said(self, folder, tmp_path, caplog, harm):
        grow(folder)
        shutil.copytree(folder, tmp_path / "copy")
        harm(folder, "memory/snapshots/000002.json")
        _, client = start(folder, sql=True)
        assert ask(client)["snapshot"] == ask(client, "flat")["snapshot"] == "000001"
        assert client.get("/readyz").json() == {"status": "ready", "problems": 1}
        assert 'mnemodex_memory_problem{memory="towns",replica="0"} 1.0' in client.get("/metrics").text
        (told,) = client.get("/v1/indexes").json()["memories"]
        said = "the newest snapshot is refused, 000001 is served: "
        assert said in told["problem"] and str(folder) not in told["problem"] and said in caplog.text
        counted = client.post("/v1/sql", json={"query": "SELECT count(*) AS n FROM documents"}).json()
        assert counted["rows"] == [[6]] or counted["rows"] == [["6"]]
        assert client.post("/v1/reload", json={}).status_code == 409
        shutil.copytree(tmp_path / "copy", folder, dirs_exist_ok=True)
        assert client.post("/v1/reload", json={}).status_code == 200
        assert ask(client)["snapshot"] == "000002"
        assert client.get("/v1/indexes").json()["memories"][0]["problem"] is None

    def test_without_a_sound_manifest_nothing_is_served(self, folder):
        damage(folder, "memory/snapshots/000001.json")
        with pytest.raises(CorruptFileError):
            start(folder)


class TestCommand:
    def test_other_machines_need_keys(self, cli, tmp_path):
        assert_refused(cli("serve", tmp_path, "--host", "0.0.0.0"), saying="mnemodex keys add")

    def test_a_cluster_needs_keys(self, cli, tmp_path):
        assert_refused(cli("serve", tmp_path, "--address", "auto"), saying="mnemodex keys add")

    @pytest.mark.parametrize("name", ["ENABLE_HA_PROXY", "ENABLE_DIRECT_INGRESS", "THROUGHPUT_OPTIMIZED"])
    def test_a_mode_that_listens_everywhere_needs_keys(self, cli, tmp_path, monkeypatch, name):
        monkeypatch.setenv(f"RAY_SERVE_{name}", "1")
        assert_refused(cli("serve", tmp_path), saying="listens at all addresses")

    def test_two_memories_of_one_name_are_refused(self, cli, tmp_path):
        assert_refused(cli("serve", tmp_path / "a", f"a={tmp_path}"), saying="NAME=FOLDER")

    def test_a_folder_that_is_no_memory_is_refused_before_ray_starts(self, cli, tmp_path):
        assert_refused(cli("serve", tmp_path / "none"), saying="no such memory")
