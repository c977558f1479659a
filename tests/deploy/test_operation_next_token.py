"""The operation `next_token`: keys in, neighbours out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from mnemodex.deploy.access import OPEN
from mnemodex.deploy.memories import Served
from mnemodex.deploy.operations.next_token import KEYS, NextTokenForm, next_token
from mnemodex.deploy.settings import Limits
from mnemodex.schemas.errors import AccessError, LimitError, QueryError
from mnemodex.schemas.packed import Packed


@pytest.fixture(scope="module")
def served(memory):
    return Served("notes", memory, Limits(k=50))


@pytest.fixture(scope="module")
def datastore(memory):
    return memory.retriever("next")


@pytest.fixture(scope="module")
def keys(datastore):
    return np.random.default_rng(3).normal(size=(5, datastore.info.dimension)).astype(np.float32)


def ask(served, **request):
    """Ask as over HTTP: in JSON, both ways."""
    form = NextTokenForm.model_validate_json(json.dumps({"index": "next", **request}))
    return json.loads(json.dumps(next_token(served, form, OPEN), allow_nan=False))


def packed(array):
    return Packed.of(array).to_json()


def unpacked(value):
    return Packed(**value).array("answer", "float32", "int32", "int64")


def test_lists_are_answered_by_the_neighbours_of_the_datastore(served, datastore, keys):
    answer = ask(served, keys=keys.tolist(), k=7)
    expected = datastore.nearest(keys, 7)
    assert np.array_equal(np.array(answer["distances"], np.float32), expected.distances)
    assert np.array_equal(answer["tokens"], expected.tokens)
    assert np.array_equal(np.array(answer["positions"], np.int64), expected.ids)
    assert (answer["memory"], answer["snapshot"], answer["index"]) == ("notes", served.snapshot, "next")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_packed_keys_are_answered_by_packed_neighbours(served, datastore, keys, dtype):
    answer = ask(served, keys=packed(keys.astype(dtype)), k=7)
    expected = datastore.nearest(keys.astype(dtype).astype(np.float32), 7)
    for name, column in zip(("distances", "tokens", "positions"), expected, strict=True):
        assert np.array_equal(unpacked(answer[name]), column) and unpacked(answer[name]).dtype == column.dtype


def test_named_entries_are_measured_exactly(served, datastore, keys):
    near = datastore.nearest(keys, 3).ids
    asked = np.concatenate([near, np.full((5, 1), -1)], axis=1)
    expected = datastore.measure(keys, asked)
    listed = ask(
        served, what="measure", keys=keys.tolist(), positions=[[str(one) for one in row] for row in asked.tolist()]
    )
    assert [row[3] for row in listed["distances"]] == [None] * 5
    assert [row[:3] for row in listed["distances"]] == expected.distances[:, :3].tolist()
    answer = ask(served, what="measure", keys=packed(keys), positions=packed(asked))
    assert np.array_equal(unpacked(answer["distances"]), expected.distances)
    assert np.array_equal(unpacked(answer["positions"]), asked)


def test_a_description_is_what_a_model_has_to_agree_with(served, datastore):
    described, info = ask(served, what="describe")["datastore"], datastore.info
    for name in ("rows", "dimension", "key", "model_sha256", "tokenizer_sha256", "vocabulary", "window", "overlap"):
        assert described[name] == getattr(info, name)
    assert described["scale"] == info.scale and described["prefix"] == list(info.prefix)
    assert np.array_equal(unpacked(described["sample_tokens"])[0], info.sample_tokens)
    assert np.array_equal(unpacked(described["sample_keys"]), info.sample_keys)
    assert "/" not in described["model"]


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({}, QueryError, "keys: are missing"),
        ({"keys": []}, LimitError, "there are 0"),
        ({"keys": [[1.0]]}, QueryError, "key 0 has 1 numbers"),
        ({"keys": {"data": "AAAA", "dtype": "float32", "shape": [1, 1]}}, QueryError, "have 3 bytes"),
        ({"keys": {"data": "AAAAAA==", "dtype": "float32", "shape": [1, 1]}}, QueryError, "have 1 numbers each"),
        ({"keys": {"data": "A", "dtype": "float32", "shape": [1, 1]}}, QueryError, "not base64"),
        ({"keys": {"data": "é", "dtype": "float32", "shape": [1, 1]}}, QueryError, "not base64"),
        ({"keys": {"data": "AAAAAA==", "dtype": "int32", "shape": [1, 1]}}, QueryError, "of dtype int32"),
        ({"keys": {"data": "", "dtype": "float32", "shape": [0, 32]}}, LimitError, "there are 0"),
        ({"index": "words"}, QueryError, "not of type knn_lm. Ask one of these: next"),
    ],
)
def test_what_cannot_be_answered_is_refused(served, request_, error, message):
    with pytest.raises(error, match=message):
        ask(served, **request_)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e39])
def test_keys_that_are_no_numbers_are_refused(served, keys, bad):
    rows = keys.tolist()
    rows[2][1] = bad
    with pytest.raises(QueryError, match="key 2 holds NaN or infinity"):
        ask(served, keys=rows)
    with pytest.raises(QueryError, match="key 2 holds NaN or infinity"), np.errstate(over="ignore"):
        ask(served, keys=packed(np.array(rows).astype(np.float32)))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (None, "positions: are missing"),
        ([], "Give a list for each key"),
        ([[1]], "positions: are of 1 keys"),
        ([[1], [1, 2], [], [], []], "some keys have more"),
        ([[2**70]] * 5, "more than 63 bits"),
        (packed(np.zeros((5, 1), np.int32)), "of dtype int32"),
    ],
)
def test_positions_that_are_none_are_refused(served, keys, positions, message):
    with pytest.raises(QueryError, match=message):
        ask(served, what="measure", keys=keys.tolist(), positions=positions)


def test_requests_are_bounded(served, datastore):
    with pytest.raises(LimitError, match=f"1 to {KEYS}"):
        ask(served, keys=packed(np.zeros((KEYS + 1, datastore.info.dimension), np.float16)))
    with pytest.raises(LimitError, match="at most 50 neighbours"):
        ask(served, keys=packed(np.zeros((1, datastore.info.dimension), np.float16)), k=51)
    with pytest.raises(LimitError, match="Ask for fewer"):
        ask(
            served,
            what="measure",
            keys=packed(np.zeros((1024, datastore.info.dimension), np.float16)),
            positions=packed(np.zeros((1024, 1025), np.int64)),
        )


def test_an_access_that_is_for_something_else_is_refused(served):
    for changes in (
        {"scopes": frozenset({"sql"})},
        {"memories": frozenset({"others"})},
        {"indexes": frozenset({"words"})},
        {"where": "d.key = 'a'"},
    ):
        with pytest.raises(AccessError):
            next_token(served, NextTokenForm(index="next", what="describe"), replace(OPEN, **changes))


@pytest.mark.parametrize("request_", [{"k": 0}, {"what": "all"}, {"keys": "AAAA"}, {"further": 1}, {"keys": [["a"]]}])
def test_a_form_that_is_none_is_refused(request_):
    with pytest.raises(ValidationError):
        NextTokenForm(**{"index": "next", **request_})
