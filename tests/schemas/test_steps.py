"""Steps: what their results are called, and what a worker is given."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.schemas.steps import Each, IndexKey, Key, Read, Resources, Step, is_cache
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey


@pytest.mark.parametrize(
    ("key", "label", "path"),
    [
        (IndexKey("dense"), "dense", "indexes/dense"),
        (IndexKey("dense", "trained"), "dense: trained", "indexes/dense"),
        (CHUNKS, "chunks", "tables/chunks"),
        (TableKey("embeddings", "minilm", "facts"), "embeddings/minilm/facts", "tables/embeddings/minilm/facts"),
    ],
)
def test_results_have_a_name_for_people_and_a_folder(key, label, path):
    assert (key.label, key.path) == (label, path)


@pytest.mark.parametrize(
    ("key", "cache"),
    [
        (DOCUMENTS, False),
        (TableKey("documents", draft=True), True),
        (IndexKey("words"), False),
        (IndexKey("words", "parts"), True),
        (TableKey("embeddings", "minilm", "facts"), False),
    ],
)
def test_what_is_neither_searched_nor_asked_is_a_cache(key, cache):
    assert is_cache(key) is cache


def test_keys_of_a_table_and_of_an_index_are_told_apart_in_json():
    adapter = TypeAdapter(Key)
    for key in (CHUNKS, TableKey("embeddings", "m", "facts", draft=True), IndexKey("m"), IndexKey("m", "parts")):
        assert adapter.validate_json(adapter.dump_json(key)) == key


def test_a_step_is_named_after_what_it_is_for():
    step = Step("chunks", "module:Op", (Read(DOCUMENTS),), (CHUNKS, TableKey("errors")), NoSettings())
    assert step.result == CHUNKS
    assert step.reads[0].how == Each() and step.reads[0].columns == ()
    assert step.resources == Resources(cpus=1, gpus=0, memory=0, threads=False, workers=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cpus": 0}, "cpus is 0; a worker needs at least 1"),
        ({"cpus": -1}, "cpus is -1; a worker needs at least 1"),
        ({"gpus": -1}, "gpus is -1; a worker needs at least 0"),
        ({"memory": -5}, "memory is -5; a worker needs at least 0"),
        ({"workers": 0}, "workers is 0; a step needs at least 1"),
    ],
)
def test_a_worker_without_a_cpu_and_a_step_without_a_worker_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Resources(**wrong)
