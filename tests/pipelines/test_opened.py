"""An index that is searched inside a build: it answers as in the finished memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from library import records, write_pairs, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.messages import Unit
from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.ops.inputs import Inputs
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.store.store import Store

QUESTIONS = ["Where are apples stored?", "straw frost", "A lighthouse keeper", " "]
OBJECTS = {"embed/minilm": Hashed()}


class Build(NamedTuple):
    """The memory, the checked recipe, and the results of all steps."""

    memory: mnemodex.Memory
    recipe: object
    results: object


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched")
    recipe = {
        "source": {"path": str(write_parts(folder / "notes", records(), 3))},
        "memory": str(folder / "memory"),
        "qa_pairs": {"from": str(write_pairs(folder / "pairs.jsonl", records()))},
        "indexes": {
            "dense": {"type": "dense", "factory": "HNSW8"},
            "words": {"type": "bm25", "k1": 0.9},
            "both": {"type": "hybrid", "of": ["dense", "words"]},
            "pairs": {"type": "qa"},
            "grams": {"type": "ngram"},
            "mixed": {"type": "hybrid", "of": ["both", "grams"]},
        },
    }
    given = []
    make_manifest = run_module.make_manifest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "make_manifest", lambda *made: given.extend(made[:2]) or make_manifest(*made))
        mnemodex.build(recipe, encoders={"minilm": Hashed()}, local=True)
    return Build(mnemodex.open(recipe["memory"], encoders={"minilm": Hashed()}), *given)


def open_index(built, name):
    """The memory of an index as a worker opens it, for a unit with another input before those that the index reads."""
    index = SearchedIndex.of(built.recipe, name, at="here")
    index = SearchedIndex.model_validate_json(index.model_dump_json(by_alias=True))
    places = [tuple(part.place for part in built.results.artifacts(read.table)) for read in index.reads()]
    store = Store(built.memory.snapshot.store.root)
    unit = Unit(step="step", label="all", fingerprint="print", inputs=((), *places))
    return index.open(Inputs(store, unit, "work"), 1, Work(1, store, OBJECTS))


@pytest.mark.parametrize("name", ["dense", "words", "both", "pairs"])
def test_an_index_answers_in_a_build_as_in_the_finished_memory(built, name):
    ours, expected = (memory.retriever(name).search(QUESTIONS, 5) for memory in (open_index(built, name), built.memory))
    np.testing.assert_array_equal(ours.ids, expected.ids)
    np.testing.assert_array_equal(ours.scores, expected.scores)
    assert ours.chunks() == expected.chunks()
    if name == "pairs":
        assert ours.pairs() == expected.pairs()


def test_the_measured_search_parameter_is_searched_with(built):
    ours = open_index(built, "dense").snapshot.index("dense")
    assert ours.search.value is not None
    assert ours == built.memory.snapshot.index("dense").model_copy(update={"fingerprint": ours.fingerprint})


def test_what_a_search_finds_is_decided_by_settings_of_searches_too(built):
    def decides(name, **changes):
        changed = built.recipe.indexes[name].model_copy(update=changes)
        recipe = built.recipe.model_copy(update={"indexes": {**built.recipe.indexes, name: changed}})
        return SearchedIndex.of(recipe, "both", at="here").decides(lambda model, ref: model)

    assert decides("words") == decides("dense")
    assert decides("words") != decides("words", k1=1.0)
    assert decides("words") != decides("both", constant=1.0)
    assert decides("words") != decides("dense", factory="Flat")


@pytest.mark.parametrize("name", ["grams", "mixed"])
def test_other_types_are_refused_by_name(built, name):
    with pytest.raises(
        RecipeError, match=r"here: the index 'grams'.* is of type ngram, which cannot be searched while"
    ):
        SearchedIndex.of(built.recipe, name, at="here")
