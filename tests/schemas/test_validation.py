from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, KINDS, SOURCES, load
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.sections import LmStates, NgramPairs
from mnemodex.schemas.validation import WORDS

SETTINGS = {
    "source": {name: ({}, load(SOURCES.find(name).settings)) for name in ("jsonl", "text")},
    "chunks": {name: ({"by": name}, load(CHUNKERS.find(name).settings)) for name in ("document", "tokens")},
    "embed.m": {
        name: ({"encoder": name}, load(ENCODERS.find(name).settings)) for name in ("sentence_transformers", "openai")
    },
    "triples": {name: ({"extractor": name}, load(EXTRACTORS.find(name).settings)) for name in ("file", "spacy", "llm")},
    "indexes.i": {
        name: ({"type": name}, load(KINDS.find(name).settings))
        for name in (
            "dense",
            "bm25",
            "ngram",
            "seal",
            "graph",
            "knn_lm",
            "hybrid",
            "rerank",
            "recency",
            "contiguity",
            "qa",
        )
    },
    "lm.m": {"": ({}, LmStates)},
    "ngram_pairs.p": {"": ({}, NgramPairs)},
    "qa_pairs": {
        name: ({"generator": name}, load(GENERATORS.find(name).settings)) for name in ("file", "rules", "model", "llm")
    },
}
VALUES = [
    *(None, True, -1, 0, 1.5, float("inf"), float("nan"), 10**30),
    *("", "x", "1.5", [], ["x"], [1], {}, {"x": 1}, {1: 2}, {"model": 1, "base_url": "x"}),
]
FIELDS = [
    (f"{section}.{field.alias or own}", settings | {field.alias or own: value})
    for section, entries in SETTINGS.items()
    for settings, kind in entries.values()
    for own, field in kind.model_fields.items()
    for value in VALUES
] + [(key, value) for key in ("source", "chunks", "embed", "indexes", "memory", "id_salt", "lm") for value in VALUES]


def parse(at, value):
    *sections, _ = at.split(".") if isinstance(value, dict) and "." in at else [at, ""]
    data = value
    for part in reversed(sections):
        data = {part: data}
    return parse_recipe({"source": "a"} | data, name="recipe.yaml", base=Path("/recipes"))


def test_no_wrong_value_of_any_setting_is_refused_in_pydantics_words():
    types = set()
    for at, value in FIELDS:
        try:
            parse(at, value)
        except RecipeError as error:
            if isinstance(error.__cause__, ValidationError):
                types |= {problem["type"] for problem in error.__cause__.errors()}
            for raw in ("Input", "String", "Dictionary", "Tuple", "Value error", "Field required", "[key]"):
                assert raw not in str(error), (at, value)
    assert {"too_short", "tuple_type", "string_type", "finite_number", "invalid_key"} <= types <= WORDS.keys()
