"""A node's copies of objects."""

from __future__ import annotations

import hashlib

import pytest

from mnemodex.schemas.errors import UserError
from mnemodex.schemas.manifest import FileEntry
from mnemodex.schemas.store.node_cache import NodeCache


def entry(content):
    return FileEntry(
        path=f"tables/{content[:1]}/data", bytes=len(content), sha256=hashlib.sha256(content.encode()).hexdigest()
    )


@pytest.fixture
def open_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMODEX_CACHE", str(tmp_path))
    opened = []

    def run(gigabytes=1.0):
        monkeypatch.setenv("MNEMODEX_CACHE_GB", str(gigabytes))
        opened.append(NodeCache())
        return opened[-1]

    yield run
    for cache in opened:
        cache.close()


def kept(cache, *contents):
    """Which of some contents another process finds."""
    return [content[0] for content in contents if cache.read(entry(content).sha256) is not None]


def test_what_one_process_read_another_one_has(open_cache):
    one, two = open_cache(), open_cache()
    assert one.link(entry("abc")) is None
    one.add([b"a", b"bc"])
    for cache in (one, two):
        path = cache.link(entry("abc"))
        assert path == cache.view / "tables/a/data"
        assert path.read_text() == "abc"
    assert one.view != two.view
    one.close()
    assert not one.view.exists()
    assert two.link(entry("abc")).read_text() == "abc"


def test_what_nobody_uses_is_evicted_first_used_first(open_cache):
    contents = [letter * 400 for letter in "abcd"]
    one = open_cache(1e-6)
    for content in contents[:2]:
        one.add([content.encode()])
    one.link(entry(contents[0]))
    one.add([contents[2].encode()])
    # The first one is used, and the second one was not for longest.
    assert kept(one, *contents) == ["a", "c"]
    one.close()
    two = open_cache(1e-6)
    two.add([contents[3].encode()])
    assert kept(two, *contents) == ["c", "d"]


def test_a_damaged_copy_is_none(open_cache):
    one = open_cache()
    one.add([b"abc"])
    (one.view.parent.parent / "sha256" / entry("abc").sha256).chmod(0o600)
    (one.view.parent.parent / "sha256" / entry("abc").sha256).write_text("abd")
    assert one.link(entry("abc")) is None
    one.add([b"abc"])
    assert one.link(entry("abc")).read_text() == "abc"


def test_what_others_cannot_write_is_the_users_own(open_cache, tmp_path, monkeypatch):
    open_cache()
    assert (tmp_path / "sha256").is_dir()
    for wrong in ("much", "-1", "inf"):
        with pytest.raises(UserError, match="MNEMODEX_CACHE_GB"):
            open_cache(wrong)
    monkeypatch.setenv("MNEMODEX_CACHE", "s3://bucket/cache")
    with pytest.raises(UserError, match="no folder of this machine"):
        open_cache()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNEMODEX_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set MNEMODEX_CACHE"):
        open_cache()
