"""Names of other entries in a recipe: what a missing one means, and which are refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import KINDS, Kind
from mnemodex.schemas.recipe import IndexSettings, parse_recipe
from mnemodex.schemas.spec import Ref, Spec

LM = {"smol": {"model": "m"}, "large": {"model": "n"}}
TRIPLES = {"from": "t.jsonl"}


def parsed(indexes: dict[str, Any], **sections: Any):
    data = {"source": "notes", "indexes": indexes, **sections}
    return parse_recipe(data, name="r.yaml", base=Path("/recipes")).indexes


def refused(indexes: dict[str, Any], **sections: Any) -> str:
    with pytest.raises(RecipeError) as raised:
        parsed(indexes, **sections)
    return str(raised.value)


class TestFilledIn:
    def test_an_embedding_that_is_not_named_is_the_first(self):
        embed = {"second": {}, "first": {}}
        found = parsed({"a": {"type": "dense"}, "b": {"type": "dense", "embed": "first"}}, embed=embed)
        assert (found["a"].embed, found["b"].embed) == ("second", "first")

    def test_so_is_a_language_model(self):
        found = parsed({"a": {"type": "knn_lm"}, "b": {"type": "knn_lm", "lm": "large"}}, lm=LM)
        assert (found["a"].lm, found["b"].lm) == ("smol", "large")

    def test_an_index_of_a_type_is_the_only_one(self):
        indexes = {"keys": {"type": "seal"}, "words": {"type": "bm25"}, "grams": {"type": "ngram"}}
        assert parsed(indexes)["keys"].of == "grams"

    def test_what_may_be_left_out_stays_out(self):
        found = parsed({"a": {"type": "dense"}, "g": {"type": "graph"}}, triples=TRIPLES)
        assert found["g"].of is None and found["g"].embed == "minilm"

    def test_what_is_named_stays(self):
        indexes = {"keys": {"type": "seal", "of": "b"}, "a": {"type": "ngram"}, "b": {"type": "ngram"}}
        assert parsed(indexes)["keys"].of == "b"

    def test_a_second_time_changes_nothing(self):
        recipe = parse_recipe(
            {"source": "a", "indexes": {"d": {"type": "dense"}, "k": {"type": "knn_lm"}}, "lm": LM},
            name="r",
            base=Path("/recipes"),
        )
        again = parse_recipe(recipe.model_dump(mode="json", by_alias=True), name="r", base=Path("/"))
        assert again.indexes == recipe.indexes


@pytest.mark.parametrize(
    ("indexes", "sections", "message"),
    [
        ({"a": {"type": "dense", "embed": "mini"}}, {}, "indexes.a.embed names 'mini'; embeddings are: minilm"),
        ({"a": {"type": "knn_lm", "lm": "x"}}, {"lm": LM}, "indexes.a.lm names 'x'; language models are: smol, large"),
        (
            {"a": {"type": "knn_lm"}},
            {},
            "indexes.a: needs the states of a language model; add a section, as `lm: {smol: {model: FOLDER}}`",
        ),
        (
            {"a": {"type": "knn_lm", "lm": "smol"}},
            {},
            "indexes.a: needs the states of a language model; add a section, as `lm: {smol: {model: FOLDER}}`",
        ),
        (
            {"keys": {"type": "seal"}},
            {},
            "indexes.keys needs one index of type ngram, but the recipe has 0; add one, as `ngrams: {type: ngram}`",
        ),
        (
            {"keys": {"type": "seal"}, "a": {"type": "ngram"}, "b": {"type": "ngram"}},
            {},
            "indexes.keys needs one index of type ngram, but the recipe has 2; name one in `of`: a, b",
        ),
        (
            {"keys": {"type": "seal", "of": "words"}, "words": {"type": "bm25"}, "g": {"type": "ngram"}},
            {},
            "indexes.keys.of names 'words', which is of type bm25 and not ngram; indexes of that type are: g",
        ),
        (
            {"lite": {"type": "graph", "method": "bridge-lite", "of": "words"}, "words": {"type": "bm25"}},
            {},
            "indexes.lite.of names 'words', which is of type bm25 and not dense; indexes of that type are: none",
        ),
        (
            {"both": {"type": "hybrid", "of": ["words", "wrods"]}, "words": {"type": "bm25"}},
            {},
            "indexes.both.of names 'wrods'; other indexes are: words",
        ),
        (
            {"both": {"type": "hybrid", "of": ["both", "words"]}, "words": {"type": "bm25"}},
            {},
            "indexes.both.of names 'both'; other indexes are: words",
        ),
        ({"both": {"type": "hybrid", "of": ["a", "b"]}}, {}, "indexes.both.of names 'a'; other indexes are: none"),
        (
            {"both": {"type": "hybrid", "of": ["next", "a"]}, "next": {"type": "knn_lm"}, "a": {"type": "bm25"}},
            {"lm": LM},
            "indexes.both.of names 'next', of type knn_lm, whose hits are positions; an index of type hybrid takes "
            "indexes whose hits are chunks or pairs",
        ),
    ],
)  # fmt: skip
def test_a_name_of_nothing_or_of_the_wrong_thing_is_refused(indexes, sections, message):
    assert refused(indexes, **sections) == f"r.yaml: {message}"


def test_indexes_that_are_made_of_each_other_are_refused():
    indexes = {
        "a": {"type": "hybrid", "of": ["b", "words"]},
        "b": {"type": "hybrid", "of": ["c", "words"]},
        "c": {"type": "hybrid", "of": ["a", "words"]},
        "words": {"type": "bm25"},
    }
    said = refused(indexes)
    assert said.startswith("r.yaml: indexes are made of each other: ")
    assert said.endswith("; leave one of them out of `of`")
    circle = said.split(": ")[2].split(";")[0].split(" of ")
    assert len(circle) == 4 and circle[0] == circle[-1] and set(circle) == {"a", "b", "c"}
    following = {"a": "b", "b": "c", "c": "a"}
    assert all(following[one] == other for one, other in pairwise(circle))


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), min_size=2, max_size=3)))
def test_only_circles_are_refused(made_of):
    indexes: dict[str, Any] = {name: {"type": "bm25"} for name in "abcdef"}
    indexes |= {
        name: {"type": "hybrid", "of": [other if other != name else "words" for other in others]}
        for name, others in made_of.items()
    }
    indexes["words"] = {"type": "bm25"}
    ends = {name for name in indexes if indexes[name]["type"] == "bm25"}
    while more := {name for name in indexes.keys() - ends if set(indexes[name]["of"]) <= ends}:
        ends |= more
    if ends == indexes.keys():
        assert parsed(indexes).keys() == indexes.keys()
    else:
        assert "made of each other" in refused(indexes)


class Part(Spec):
    index: Annotated[str, Ref("index", default="none")]


class Nested(IndexSettings):
    type: Literal["nested"]
    parts: dict[str, list[Part]]
    embed: Annotated[str, Ref("embed")] | None = None


def test_references_are_found_at_every_depth(monkeypatch):
    registered = {**KINDS._built_in, "nested": Kind(f"{__name__}:Nested", "nowhere:Retriever")}
    monkeypatch.setattr(KINDS, "_built_in", registered)
    words = {"type": "bm25"}
    made = parsed({"n": {"type": "nested", "parts": {"x": [{"index": "words"}]}}, "words": words})["n"]
    assert (made.embed, made.parts["x"][0].index) == ("minilm", "words")
    said = refused({"n": {"type": "nested", "parts": {"x": [{"index": "words"}, {"index": "w"}]}}, "words": words})
    assert said == "r.yaml: indexes.n.parts names 'w'; other indexes are: words"
