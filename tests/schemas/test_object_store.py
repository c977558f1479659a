"""Commits and leases in an object store that does not do what it is asked for."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from object_stores import harming
from stores import commit, manifest, publish

from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import (
    CommitFailedError,
    CommitStateUnknownError,
    MemoryNotFoundError,
    NodeCacheError,
    ObjectStoreError,
    ObjectStoreRefusedError,
    UserError,
    WriterBusyError,
)
from mnemodex.schemas.store import object_lease
from mnemodex.schemas.store.files import LEASE
from mnemodex.schemas.store.object_lease import Lease
from mnemodex.schemas.store.object_url import ObjectUrl, parse_root
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.yaml_file import read_yaml

TABLE = "tables/notes/a-f1"
SECOND = "snapshots/000002.json"


@pytest.fixture
def store(bucket, proxy):
    made = Store(f"{bucket}/memory")
    commit(made, TABLE)
    return made


def commit_second(store):
    return store.commit(manifest([publish(store, TABLE)], recipe_hash="second"), former=store.current())


def test_a_disk_on_which_no_copy_stays_sound_is_named(store, monkeypatch):
    monkeypatch.setattr("mnemodex.schemas.store.node_cache.NodeCache.link", lambda *_: None)
    (file,) = store.current().tables["notes"].partitions[0].files
    with pytest.raises(
        NodeCacheError, match=r"notes.*: no copy on this machine stays as it was written; check its disk"
    ):
        store.files.local(file)


@pytest.mark.parametrize("harm", ["cut", "lose"])
def test_a_snapshot_whose_put_breaks_once_is_committed_once(store, proxy, harm):
    proxy.harm = harming("PUT", SECOND, harm, times=1)
    assert commit_second(store).name == "000002"
    assert store.kept() == ["000001", "000002"]


def test_a_snapshot_that_cannot_be_put_is_not_committed(store, proxy):
    proxy.harm = harming("PUT", SECOND, "cut")
    with pytest.raises(CommitFailedError, match="former snapshot is current"):
        commit_second(store)
    assert store.current().name == "000001"


def test_of_a_snapshot_that_nobody_answers_for_the_state_is_unknown(store, proxy):
    def after(method, path):
        silent[0] = silent[0] or (method == "PUT" and path.endswith(SECOND))
        return "lose" if silent[0] else None

    silent, proxy.harm = [False], after
    with pytest.raises(CommitStateUnknownError, match=r"000002\.json may be there"):
        commit_second(store)
    proxy.harm = harming("", "nothing", "cut")
    # It was put, and only nobody said so.
    assert store.current().name == "000002"


def test_another_writers_snapshot_is_not_taken_for_ones_own(store, proxy):
    made, former = manifest([publish(store, TABLE)]), store.current()
    commit_second(Store(store.root))
    proxy.harm = harming("PUT", SECOND, "lose", times=1)
    with pytest.raises(CommitFailedError, match="another writer committed first"):
        store.commit(made, former=former)


def test_a_store_that_ignores_conditions_is_not_written_to(bucket, proxy):
    proxy.harm = harming("PUT", "", "ignore")
    store = Store(f"{bucket}/memory")
    with pytest.raises(ObjectStoreRefusedError, match=r"no conditional put.*If-None-Match"), store.lock():
        pass
    assert [*store.files.list("work")] == []


def test_credentials_that_are_refused_are_no_damage(store, proxy):
    proxy.harm = harming("", "", "refuse")
    for ask in (store.current, store.kept, store.prepare, lambda: commit_second(store)):
        with pytest.raises(ObjectStoreRefusedError, match=r"refuses the credentials \(403 Forbidden"):
            ask()


def test_a_store_that_is_silent_is_no_damage(store, proxy):
    proxy.harm = harming("", "", "lose")
    for ask in (store.current, store.kept, store.collected):
        with pytest.raises(ObjectStoreError, match="did not answer as it should"):
            ask()


def test_a_bucket_that_is_not_there_is_named(bucket):
    with pytest.raises(ObjectStoreRefusedError, match="there is no bucket 'nowhere'"):
        Store("s3://nowhere/memory").current()


def test_threads_that_need_a_file_read_it_once(store, proxy):
    (file,) = publish(store, TABLE).files
    other = Store(store.root)
    shutil.rmtree(other.files.scratch.parent.parent / "sha256")
    (other.files.scratch.parent.parent / "sha256").mkdir()
    proxy.seen.clear()
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda _: other.files.local(file).read_text(), range(64)))
    assert texts == ["content"] * 64
    assert [method for method, _ in proxy.seen] == ["GET"]


def test_http_must_be_allowed(store, monkeypatch):
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    with pytest.raises(ObjectStoreRefusedError, match=r"is http, not https.*AWS_ALLOW_HTTP"):
        Store(store.root).current()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "localhost:9000"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_ENDPOINT_URL", "http://host:99999"),
        ("AWS_ENDPOINT_URL_S3", "https://a host"),
        ("AWS_ACCESS_KEY_ID", "key\n"),
        ("AWS_SESSION_TOKEN", "token\r"),
        ("AWS_REGION", "eu-central-1\n"),
        ("AWS_CONDITIONAL_PUT", "perhaps"),
    ],
)
def test_a_variable_that_cannot_be_sent_is_named(bucket, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ObjectStoreRefusedError, match=f"{name} |{value}"):
        Store(f"{bucket}/memory").current()


def test_a_machine_that_cannot_keep_a_copy_is_no_damage(store):
    (file,) = publish(store, TABLE).files
    other = Store(store.root)
    copies = other.files.scratch.parent.parent / "sha256"
    shutil.rmtree(copies)
    copies.write_text("")
    for ask in (lambda: other.files.local(file), lambda: other.files.read(file.path, sha256=file.sha256)):
        with pytest.raises(NodeCacheError, match=r"cannot keep copies .*MNEMODEX_CACHE"):
            ask()
    other.files.check(file)


def test_a_lease_is_renewed_and_ends_by_itself(store, monkeypatch):
    monkeypatch.setattr(object_lease, "SECONDS", 0.6)
    with store.lock():
        first = store.files.read(LEASE)
        with pytest.raises(WriterBusyError, match=f"process {os.getpid()} on .*, is writing"), Store(store.root).lock():
            pass
        while store.files.read(LEASE) == first:
            pass
        left = store.files.read(LEASE)
    assert not store.files.exists(LEASE)
    ended = json.dumps(json.loads(left) | {"until": 1.0}).encode()
    store.files.put(LEASE, ended)
    with store.lock():
        assert store.files.read(LEASE) != ended


def test_a_lease_of_a_process_that_died_here_is_over(store):
    store.files.put(LEASE, Lease.begin("dead").model_copy(update={"process": 2_000_000_000}).to_bytes())
    with store.lock():
        pass


@pytest.mark.parametrize("damaged", [b"no lease", b'{"holder":"a","host":"elsewhere","process":1,"until":NaN}'])
def test_a_damaged_lease_is_over(store, damaged):
    store.files.put(LEASE, damaged)
    with store.lock():
        assert store.files.read(LEASE) != damaged


def test_urls():
    assert str(parse_root("s3://bucket/a/b/")) == "s3://bucket/a/b"
    assert parse_root("s3:/bucket/a") / "b/c" == ObjectUrl("s3", "bucket", "a/b/c")
    assert (str(parse_root("az://box")), str(parse_root("folder"))) == ("az://box", "folder")
    for wrong in ("s3://", "s3:///a", "s3://bucket/a/../b", "s3://bucket/a//b", "hdfs://host/a", "file:///a"):
        with pytest.raises(MemoryNotFoundError):
            parse_root(wrong)


def test_a_recipe_and_queries_are_no_urls():
    for read in (lambda: read_yaml(Path("s3://bucket/recipe.yaml")), lambda: read_queries(Path("s3://bucket/q.jsonl"))):
        with pytest.raises(UserError, match=r"s3://bucket/.*: only memories and sources .*download the file"):
            read()
