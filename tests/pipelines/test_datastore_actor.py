"""A datastore behind a Ray actor answers as the one in this process does."""

from __future__ import annotations

import numpy as np
import pytest

from mnemodex.pipelines.datastore_actor import RemoteDatastore
from mnemodex.schemas.errors import MemoryNotFoundError, MnemodexError, QueryError

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def remote(library, ray_session):
    with RemoteDatastore(library, "next") as datastore:
        yield datastore


@pytest.fixture
def keys(memory):
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, memory.retriever("next").info.dimension)).astype(np.float32)


def assert_same(one, other):
    for name in ("distances", "tokens", "ids"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_it_answers_as_the_local_one(remote, memory, keys):
    local = memory.retriever("next")
    near = remote.nearest(keys, 7)
    assert_same(near, local.nearest(keys, 7))
    assert_same(remote.measure(keys, near.ids + 1), local.measure(keys, near.ids + 1))
    assert (remote.info.name, remote.info.rows, remote.info.scale) == (
        local.info.name,
        local.info.rows,
        local.info.scale,
    )
    assert np.array_equal(remote.info.sample_keys, local.info.sample_keys)


def test_errors_are_those_of_the_local_one(remote, keys):
    with pytest.raises(QueryError, match="k is 100000, but the datastore 'next' has"):
        remote.nearest(keys, 100_000)
    assert remote.nearest(keys, 1).ids.shape == (5, 1), "and it lives on"


@pytest.mark.parametrize(("index", "message"), [("words", "is no next-token datastore"), ("gone", "no index 'gone'")])
def test_an_index_that_is_no_datastore_is_refused(library, ray_session, index, message):
    with pytest.raises(QueryError, match=message):
        RemoteDatastore(library, index)


def test_a_memory_that_is_not_there_is_refused(tmp_path, ray_session):
    with pytest.raises(MemoryNotFoundError):
        RemoteDatastore(tmp_path / "gone", "next")


def test_an_actor_that_was_ended_is_told(library, ray_session, keys):
    ended = RemoteDatastore(library, "next")
    ended.close()
    with pytest.raises(MnemodexError, match="the actor of the datastore does not answer"):
        ended.nearest(keys, 3)
