"""Recipes of the examples, changed at random: each is taken, or refused in one message that names the key."""

from __future__ import annotations

import copy
import datetime
import time
from pathlib import Path

import pytest
import yaml
from fuzzing import random_text, rounds, stream

from mnemodex.schemas.errors import UserError
from mnemodex.schemas.recipe import Recipe, load_recipe

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
SECONDS = 1
LONGEST = 2000

_KEYS = ["type", "of", "path", "format", "model", "embed", "lm", "factory", "by", "from", "x" * 300, "é", ""]
_VALUES = [
    *(None, True, False, 0, -1, 0.5, -0.0, 10**18, -(2**63), 10**400, 2**31, float("nan"), float("inf"), 1e-320),
    *("", " ", "0", "-1", "true", "null", "1e999", "~", "~nosuchuser/x", "pkg:", "pkg:none/x", "pkg:../x", "/", ".."),
    *("../" * 500, "x" * 100_000, "a\nb", "\0", "\x1b[2J", "file:///etc/passwd", "s3://b/k", "http://[", "%s {0} {x}"),
    *("IVF99999999999,Flat", "HNSW0", "PQ7", "IVF,", "IDMap," * 3000, "ZnLattice0x10_6", "SQ8,Refine(", "100%"),
    *([], {}, [[]], [None], {"": None}, {None: 1}, {1: 2}, {True: 1}, {(1, 2): 3}, [1] * 5000, {"a": {"b": [{}]}}),
    *(datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), b"bytes", {"a", 1}),
    *("minilm", "dense", "words", "both", "hybrid", "graph", "bm25", "ngram", "seal", "knn_lm", "passed", "openai"),
]  # fmt: skip
_PIECES = [
    *("\t", "\n", "  ", ":", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "%", "'", '"', "|", ">", "#", "?", "..."),
    *("!!binary ", "!!python/name:os.system", "!!int ", "!!timestamp ", "!!bool ", "!!float ", "!!set ", "!!omap "),
    *("2020-13-45", "1:99:99", "9" * 12, "9" * 5000, "\0", "\ufeff", "é", "---", "[" * 5000, "{a: " * 5000),
]  # fmt: skip


def places(value, path=()):
    """The path of each value in a recipe but the recipe itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from places(child, (*path, key))


def at(recipe, path):
    for key in path:
        recipe = recipe[key]
    return recipe


def nested(value, chance):
    for _ in range(chance.choice([1, 2, 50])):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def odd_value(chance, other):
    return copy.deepcopy(chance.choice([chance.choice(_VALUES), random_text(chance, ["type", "dense"]), other]))


def change(recipe, chance):
    """Change one place: its key, its value, what is around it, or whether it is there."""
    path = chance.choice(list(places(recipe)) or [()])
    if not path:
        return
    parent, key = at(recipe, path[:-1]), path[-1]
    other = at(recipe, chance.choice(list(places(recipe))))
    match chance.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            new = chance.choice([*_KEYS, f"{key}x", str(key)[:-1], 1, None, True, random_text(chance, ["type"])])
            parent[new] = parent.pop(key)
        case 2:
            parent[key] = nested(parent[key], chance)
        case 3 if isinstance(parent, dict):
            parent[chance.choice(_KEYS)] = odd_value(chance, other)
        case 4 if isinstance(parent[key], str):
            text = parent[key]
            start = chance.randrange(len(text) + 1)
            parent[key] = text[:start] + chance.choice(_PIECES) + text[start + chance.randrange(3) :]
        case _:
            parent[key] = odd_value(chance, other)


def written(recipe, chance):
    """A recipe as a file, its text changed too sometimes."""
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        change(recipe, chance)
    data = yaml.dump(recipe, allow_unicode=chance.random() < 0.5, sort_keys=False).encode(errors="surrogatepass")
    if chance.random() < 0.2:
        start = chance.randrange(len(data) + 1)
        data = data[:start] + chance.choice(_PIECES).encode() + data[start + chance.randrange(4) :]
    if chance.random() < 0.02:
        data = data[: chance.randrange(len(data) + 1)]
    return data


@pytest.mark.timeout(900)
@rounds(few=200, many=10_000)
def test_a_changed_recipe_is_taken_or_refused_by_its_key(tmp_path, counts, rounds):
    chance = stream("recipes", rounds)
    examples = [yaml.safe_load(path.read_text()) for path in EXAMPLES]
    path = tmp_path / "recipe.yaml"
    faults = []
    for number in range(rounds):
        path.write_bytes(written(copy.deepcopy(chance.choice(examples)), chance))
        started = time.thread_time()
        try:
            load_recipe(path)
            counts["taken"] += 1
        except UserError as error:
            counts["refused"] += 1
            faults += [(number, fault, str(error)) for fault in faults_of(str(error), path)]
        except Exception as error:
            faults.append((number, "raised", repr(error)[:300]))
        if time.thread_time() - started > SECONDS:
            faults.append((number, "took long", path.read_text()[:500]))
    assert faults == []


def faults_of(message, path):
    """What is wrong with a message."""
    if not message.startswith(f"{path}: "):
        yield "names no file"
    if len(message) >= LONGEST:
        yield "is too long"
    if "\n" in message or "\r" in message:
        yield "has several lines"
    known = [*Recipe.model_fields, ": is no key", "a recipe is a mapping", "is not valid YAML", "cannot be read as"]
    if not any(named in message.removeprefix(f"{path}") for named in known):
        yield "names no key"
