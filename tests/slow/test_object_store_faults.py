"""Faults of object stores and of the way to them: one message each, and nothing that was committed is lost."""

from __future__ import annotations

import http.client
import subprocess
import sys

import pytest
from library import records, words_recipe, write_jsonl
from object_stores import harming

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import (
    CommitFailedError,
    CommitStateUnknownError,
    MnemodexError,
    ObjectStoreError,
    ObjectStoreRefusedError,
)
from mnemodex.schemas.store.store import Store, open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def notes(tmp_path):
    return write_jsonl(tmp_path / "notes" / "notes.jsonl", records())


@pytest.fixture
def url(bucket, proxy, notes, inline):
    """A memory of one snapshot, whose source has another document since."""
    mnemodex.build(words_recipe(notes, f"{bucket}/memory"))
    write_jsonl(notes, [*records(), {"id": "zebra", "title": "Zebra", "text": "Zebras have stripes."}])
    return f"{bucket}/memory"


@pytest.mark.parametrize("harm", ["cut", "lose"])
@pytest.mark.parametrize("part", ["snapshots/000002.json", "/tables/chunks/", "/CURRENT"])
def test_a_put_that_breaks_once_is_put_again(url, notes, proxy, harm, part):
    proxy.harm = harming("PUT", part, harm, times=1)
    assert mnemodex.build(words_recipe(notes, url)).snapshot == "000002"
    store, current = open_store(url)
    assert (current.name, store.kept()) == ("000002", ["000001", "000002"])
    assert verify(url).problems == []


def test_a_build_whose_snapshot_is_not_put_can_be_repeated(url, notes, proxy, inline):
    proxy.harm = harming("PUT", "snapshots/000002.json", "cut")
    with pytest.raises(CommitFailedError, match="former snapshot is current"):
        mnemodex.build(words_recipe(notes, url))
    proxy.harm = harming("", "nothing", "cut")
    assert open_store(url)[1].name == "000001"
    assert verify(url).problems == []
    inline.computed = 0
    assert (mnemodex.build(words_recipe(notes, url)).snapshot, inline.computed) == ("000002", 0)


def test_a_commit_that_is_not_answered_has_an_unknown_state(url, notes, proxy):
    def after(method, path):
        broken[0] = broken[0] or (method == "PUT" and path.endswith("snapshots/000002.json"))
        return "lose" if broken[0] else None

    broken, proxy.harm = [False], after
    with pytest.raises(CommitStateUnknownError, match=r"000002\.json may be there"):
        mnemodex.build(words_recipe(notes, url))
    proxy.harm = harming("", "nothing", "cut")
    # It was put, and only the answer was lost.
    assert open_store(url)[1].name == "000002"
    assert verify(url).problems == []


def test_a_build_that_cannot_put_its_data_commits_nothing(url, notes, proxy):
    proxy.harm = harming("PUT", "/tables/chunks/", "cut")
    with pytest.raises(MnemodexError, match=r"tables/chunks/.*did not answer as it should.*nothing that was committed"):
        mnemodex.build(words_recipe(notes, url))
    proxy.harm = harming("", "nothing", "cut")
    assert Store(url).kept() == ["000001"]
    assert mnemodex.build(words_recipe(notes, url)).snapshot == "000002"


def test_wrong_credentials_are_the_users_to_correct(url, proxy, cli):
    proxy.harm = harming("", "", "refuse")
    for command in (("search", url, "words", "mill"), ("verify", url), ("delete", url, "hi"), ("show", url)):
        ran = cli(*command)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "refuses the credentials (403 Forbidden, InvalidAccessKeyId); set AWS_ACCESS_KEY_ID" in ran.err


def test_a_store_without_conditional_puts_is_not_written_to(bucket, proxy, notes, inline):
    proxy.harm = harming("PUT", "", "ignore")
    with pytest.raises(ObjectStoreRefusedError, match=r"has no conditional put.*If-None-Match"):
        mnemodex.build(words_recipe(notes, f"{bucket}/memory"))
    assert [*Store(bucket).files.list("memory")] == []


def test_a_bucket_that_vanishes_is_named(url, bucket, proxy):
    memory = mnemodex.open(url)
    files = Store(bucket).files
    files.delete_all([*files.list("memory")])
    proxy.harm = harming("", "nothing", "cut")
    there = http.client.HTTPConnection(proxy.address.removeprefix("http://"))
    there.request("DELETE", f"/{bucket.removeprefix('s3://')}")
    assert there.getresponse().status == 204
    for ask in (lambda: mnemodex.open(url), lambda: memory.delete(["hi"]), lambda: verify(url)):
        with pytest.raises(ObjectStoreRefusedError, match="there is no bucket"):
            ask()


def test_a_store_that_is_not_there_is_named(url, proxy, cli):
    proxy.harm = harming("", "", "lose")
    ran = cli("search", url, "words", "mill")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "did not answer as it should" in ran.err
    with pytest.raises(ObjectStoreError):
        mnemodex.open(url)


KILLED = """
import os, signal, sys
import mnemodex
from mnemodex.schemas.store.store import Store
Store.commit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
indexes = {"words": {"type": "bm25"}}
mnemodex.build({"source": {"path": sys.argv[1]}, "memory": sys.argv[2], "indexes": indexes}, local=True)
"""


def test_a_build_that_was_killed_before_its_commit_is_continued(url, notes, inline):
    ended = subprocess.run([sys.executable, "-c", KILLED, notes, url], capture_output=True, check=False)
    assert ended.returncode == -9
    assert Store(url).kept() == ["000001"]
    inline.computed = 0
    # The lease of a dead process of this machine is over at once.
    assert (mnemodex.build(words_recipe(notes, url)).snapshot, inline.computed) == ("000002", 0)
    assert verify(url).problems == []
