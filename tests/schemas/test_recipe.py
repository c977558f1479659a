from __future__ import annotations

from pathlib import Path

import pytest

from mnemodex.indexers.combined_settings import HybridSettings
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.recipe import load_recipe, parse_recipe
from mnemodex.schemas.sections import DEFAULT_MODEL, DocumentChunks


def parse(data):
    return parse_recipe(data, name="recipe.yaml", base=Path("/recipes"))


def write(tmp_path, text):
    path = tmp_path / "notes.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_key_but_the_source_has_a_default():
    recipe = parse({"source": "notes.jsonl"})
    assert recipe.source.path == "/recipes/notes.jsonl"
    assert recipe.memory == "/recipes/memories/memory"
    assert recipe.chunks == DocumentChunks()
    assert list(recipe.embed) == ["minilm"]
    assert list(recipe.indexes) == ["dense", "words", "both"]
    both = recipe.indexes["both"]
    assert isinstance(both, HybridSettings) and (both.fuse, both.weights) == ("scores", "auto")
    assert recipe == parse({"source": {"path": "notes.jsonl"}})


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "~nosuchuser/x"])
@pytest.mark.parametrize("key", ["source.path", "memory", "embed.own.model"])
def test_a_path_of_no_file_is_refused_by_its_key(tmp_path, path, key):
    given = {"source.path": {}, "memory": {"memory": path}, "embed.own.model": {"embed": {"own": {"model": path}}}}
    data = {"source": path if key == "source.path" else "a", **given[key]}
    with pytest.raises(RecipeError, match=rf"^recipe\.yaml: {key}: path .*(correct it|write the path out)$"):
        parse_recipe(data, name="recipe.yaml", base=tmp_path)


@pytest.mark.parametrize("section", ["embed", "indexes"])
def test_a_name_that_no_folder_can_have_is_refused(section):
    with pytest.raises(RecipeError, match="100 characters at most"):
        parse({"source": "a.jsonl", section: {"x" * 20_000: {"type": "bm25"} if section == "indexes" else {}}})


def test_relative_paths_are_relative_to_the_recipe(tmp_path):
    (tmp_path / "model").mkdir()
    path = write(
        tmp_path,
        "source: {path: ../corpus}\n"
        "chunks: {by: tokens, tokenizer: model}\n"
        "embed:\n  own: {model: model}\n  hub: {model: org/name}\n  wheel: {model: 'pkg:module/model'}\n"
        "indexes:\n  dense: {type: dense, queries: asked.jsonl}\n"
        "ngram_pairs:\n  train: {queries: asked.jsonl, tokenizer: model}\n  free: {unsupervised: 1}\n",
    )
    recipe = load_recipe(path)
    assert recipe.source.path == str(tmp_path / ".." / "corpus")
    assert recipe.memory == str(tmp_path / "memories" / "notes")
    assert [spec.model for spec in recipe.embed.values()] == [str(tmp_path / "model"), "org/name", "pkg:module/model"]
    assert recipe.chunks.tokenizer == str(tmp_path / "model")
    assert recipe.indexes["dense"].queries == str(tmp_path / "asked.jsonl")
    train, free = recipe.ngram_pairs["train"], recipe.ngram_pairs["free"]
    assert (train.queries, train.tokenizer) == (str(tmp_path / "asked.jsonl"), str(tmp_path / "model"))
    assert (free.queries, free.tokenizer) == (None, DEFAULT_MODEL)
    assert load_recipe(path).hash() == recipe.hash()


def test_the_hash_is_of_the_content_and_not_of_its_place():
    hashed = parse({"source": "a", "memory": "here"}).hash()
    assert hashed == parse({"source": "a", "memory": "there"}).hash()
    assert hashed != parse({"source": "a", "id_salt": "x"}).hash()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sourse": "a"}, "the key 'source' is missing; unknown key 'sourse'; did you mean 'source'?"),
        ({"source": "a", "index": {}}, "unknown key 'index'; did you mean 'indexes'?"),
        ({"source": {"path": "a", "feilds": {}}}, "unknown key 'source.feilds'; did you mean 'fields'?"),
        ({"source": {"paht": "a"}}, "unknown key 'source.paht'; did you mean 'path'?"),
        ({"source": {"path": "a", "fields": {"titel": "t"}}}, "unknown field 'titel'; did you mean 'title'?"),
        ({"source": {"path": "a", "fields": {"zzz": "t"}}}, "unknown field 'zzz'; the fields are key, title, text"),
        ({"source": "a", "embed": {"m": {"modle": "x"}}}, "unknown key 'embed.m.modle'; did you mean 'model'?"),
        ({"source": "a", "zzz": 1}, "unknown key 'zzz'; known keys: chunks, embed, id_salt, indexes, lm, memory, "),
        ({"source": "a", "lm": {"m": {"model": "x", "kye": "y"}}}, "unknown key 'lm.m.kye'; did you mean 'key'?"),
        ({"source": "a", "ngram_pairs": {"t": {"quries": "q"}}}, "key 'ngram_pairs.t.quries'; did you mean 'queries'?"),
        ({"source": "a", "chunks": {"size": 100}}, "'chunks.size'; add `by: tokens` or `by: sentences` or"),
        ({"source": "a", "chunks": {"by": "document", "size": 9}}, "or `by: headings`, not of `by: document`"),
        ({"source": "a", "embed": {"m": {"base_url": "x"}}}, "'embed.m.base_url'; add `encoder: openai`, which has it"),
        (
            {"source": "a", "indexes": {"w": {"type": "bm25", "m": 8}}},
            "it is a key of `type: dense` or `type: knn_lm` or `type: qa`, not of `type: bm25`",
        ),
    ],
)  # fmt: skip
def test_an_unknown_key_suggests_the_nearest_one_or_what_has_it(data, message):
    with pytest.raises(RecipeError, match=r"^recipe\.yaml: ") as error:
        parse(data)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "a recipe is a mapping that has at least `source: {path: …}`"),
        ([], "a recipe is a mapping"),
        ({}, "the key 'source' is missing"),
        ({"source": ""}, "source.path: should have 1 or more characters (it is '')"),
        ({"source": True}, "source: should be a mapping of keys to values (it is true)"),
        ({"source": {}}, "the key 'source.path' is missing"),
        (
            {"source": "a", "indexes": {"w": {"type": "bm25", "k1": float("inf")}}},
            "indexes.w.k1: should be a finite number (it is inf)",
        ),
        ({"source": {"path": "a", "max_errors": -1}}, "source.max_errors: should be a whole number, 0 or"),
        ({"source": {"path": "a", "max_errors": [1]}}, "source.max_errors: should be a whole number, 0 or"),
        ({"source": {"path": "a", "max_errors": True}}, "source.max_errors: should be a whole number, 0 or"),
        ({"source": {"path": "a", "max_errors": "120%"}}, "source.max_errors: should be a whole number, 0 or"),
        ({"source": {"path": "a", "max_errors": "nan%"}}, "source.max_errors: should be a whole number, 0 or"),
        ({"source": {"path": "a", "max_errors": "many"}}, "source.max_errors: should be a whole number, 0 or"),
        (
            {"source": {"path": "a", "format": "xml"}},
            "source: unknown source format 'xml'; known: jsonl, text, json, csv, parquet",
        ),
        ({"source": {"path": "a", "format": "jsnl"}}, "unknown source format 'jsnl'; did you mean 'jsonl'?"),
        ({"source": "a", "chunks": {"by": "tokns"}}, "chunks: unknown chunker 'tokns'; did you mean 'tokens'?"),
        ({"source": "a", "chunks": {"by": 3}}, "chunks: unknown chunker 3; known: document, tokens, sentences"),
        ({"source": "a", "embed": {"m": {"encoder": "opnai"}}}, "embed.m: unknown encoder 'opnai'; did you mean"),
        ({"source": "a", "triples": {"extractor": "x"}}, "triples: unknown extractor 'x'; known: file, spacy, llm"),
        ({"source": "a", "triples": {}}, "triples: the key 'extractor' is missing; known values: file, spacy, llm"),
        ({"source": {"path": "a", "fields": {"key": 3}}}, "source.fields.key: should be a text"),
        ({"source": "a", "memory": 5}, "memory: should be a text (it is 5)"),
        ({"source": "a", "id_salt": 7}, "id_salt: should be a text (it is 7)"),
        ({"source": "a", "chunks": "document"}, "chunks: should be a mapping of keys to values (it is 'document')"),
        ({"source": "a", "embed": {}}, "embed: should have 1 or more values"),
        ({"source": "a", "embed": {"minilm": None}}, "embed.minilm: should be a mapping of keys to values"),
        ({"source": "a", "embed": {"minilm": {"dtype": "int8"}}}, "embed.minilm.dtype: should be 'auto'"),
        ({"source": "a", "embed": {"minilm": {"max_length": 0}}}, "embed.minilm.max_length: should be 1 or more (it"),
        ({"source": "a", "indexes": ["dense"]}, "indexes: should be a mapping"),
        ({"source": "a", "indexes": {"dense": None}}, "indexes.dense: should be a mapping"),
        ({"source": "a", "ngram_pairs": {"t": {}}}, "ngram_pairs.t: nothing to make pairs of; give `queries: FILE`"),
        ({"source": "a", "ngram_pairs": {"t": {"length": 0}}}, "ngram_pairs.t.length: should be 1 or more (it is 0)"),
        ({"source": "a", "ngram_pairs": {"t": {"queries": ""}}}, "ngram_pairs.t.queries: should have 1 or more char"),
        ({"source": "a", "ngram_pairs": ["t"]}, "ngram_pairs: should be a mapping"),
        ({"source": "a", "indexes": {"b": {"type": "hybrid", "of": ["w"]}}}, "b.of: should have 2 or more values (it"),
        (
            {"source": "a", "embed": {"m": {"encoder": "openai", "model": "x", "base_url": "ftp://x"}}},
            "embed.m.base_url: should begin with http:// or https:// (it is 'ftp://x')",
        ),
        ({"source": "a", "triples": {1: "x"}}, "triples.1: is no key: a key is a text; write it in quotation marks"),
        ({1: 2, "source": "a"}, "1: is no key: a key is a text; write it in quotation marks"),
        ({"source": "~nobody-of-this-name/a"}, "there is no such user"),
        ({"source": "a", "triples": {"from": "~nobody-of-this-name/a"}}, "triples.from: path '~nobody-of-this-name"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_key(data, message):
    with pytest.raises(RecipeError) as error:
        parse(data)
    assert message in str(error.value)


@pytest.mark.parametrize("section", ["embed", "indexes", "ngram_pairs"])
@pytest.mark.parametrize("name", ["Dense", "my index", "größe", "2x", "-", "", "a/b", "..", "a.b", "a'b"])
def test_a_name_that_is_no_folder_or_sql_name_is_refused(section, name):
    with pytest.raises(RecipeError, match=f"{section}: the name .* is used as a folder and in SQL"):
        parse({"source": "a", section: {name: {"unsupervised": 1} if section == "ngram_pairs" else {}}})


@pytest.mark.parametrize("name", ["dense", "my_index", "my-index", "a", "x2"])
def test_plain_names_are_taken(name):
    assert name in parse({"source": "a", "embed": {name: {}}, "indexes": {name: {"type": "bm25"}}}).indexes


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("source: a\nsource: b\n", 2, "source"),
        ("source:\n  path: a\n  path: b\n", 3, "path"),
        ("source: {path: a, path: b}\n", 1, "path"),
        ("source: a\nindexes:\n  x: {type: bm25}\n  y: {type: bm25, k1: 1, k1: 2}\n", 4, "k1"),
        ("source: a\nindexes:\n  x: {type: bm25}\n  x: {type: bm25}\n", 4, "x"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path, text, line, key):
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value) == f"{path}: is not valid YAML: duplicate key '{key}' on line {line}"


def test_merged_keys_of_yaml_may_be_overwritten(tmp_path):
    text = (
        "source: a\n"
        "embed:\n"
        "  first: &first {query_prefix: 'query: ', normalize: true}\n"
        "  second: {<<: *first, normalize: false}\n"
    )
    second = load_recipe(write(tmp_path, text)).embed["second"]
    assert (second.query_prefix, second.normalize) == ("query: ", False)


@pytest.mark.parametrize(
    "text",
    [
        "source: [",
        "{[a]: b}",
        "source: a\n---\nsource: b\n",
        "!!python/object:os.system {}",
        "[" * 1500,
        "a: b: c",
        "\t- x",
    ],
)
def test_what_is_no_yaml_is_one_message(tmp_path, text):
    with pytest.raises(RecipeError, match="is not valid YAML") as error:
        load_recipe(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "gone.yaml", tmp_path, write(tmp_path, b"\xff\xfe")):
        with pytest.raises(RecipeError, match="cannot be read as a recipe") as error:
            load_recipe(path)
        assert str(error.value).count(str(path)) == 1


def test_a_recipe_from_a_manifest_is_the_recipe():
    recipe = parse(
        {
            "source": "a",
            "indexes": {"w": {"type": "bm25", "k1": 0.9}},
            "ngram_pairs": {"t": {"queries": "q.jsonl"}},
            "triples": {"from": "t.jsonl"},
            "chunks": {"by": "tokens", "size": 9},
        }
    )
    assert parse(recipe.model_dump(mode="json", by_alias=True)) == recipe
