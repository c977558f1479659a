"""What a recipe can name: ours, what installed packages add, and every way in which such a package can be wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from builds import computed
from library import records, words_recipe, write_jsonl
from packages import REGISTRIES

import mnemodex
from mnemodex.schemas.errors import PluginError, RecipeError
from mnemodex.schemas.kinds import CHUNKERS, ENCODERS, EXTRACTORS, KINDS, SOURCES, AnyChunker, Kind, load
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.sections import DocumentChunks, TokenChunks
from mnemodex.schemas.spec import Spec

LINES = """
from typing import Annotated, Literal
import numpy as np
from mnemodex.schemas.kinds import Component
from mnemodex.schemas.spec import ReadBy, Spec

ENTRY = Component("lines_by:LineChunks", "lines_by:LineChunker")


class LineChunks(Spec):
    by: Literal["lines"]
    least: int = 1


class LineChunker:
    def __init__(self, settings):
        self._least = settings.least

    def spans(self, texts):
        return [self._cut(text) for text in texts]

    def _cut(self, text):
        ends = [place + 1 for place, letter in enumerate(text) if letter == "\\n"] + [len(text)]
        spans = [(start, end) for start, end in zip([0, *ends], ends) if end - start >= self._least]
        return np.array(spans, np.int64).reshape(-1, 2)
"""
POINTS = {"mnemodex.chunkers": {"lines": "lines_by:ENTRY"}}


def parsed(**sections):
    return parse_recipe({"source": "notes", **sections}, name="r.yaml", base=Path("/recipes"))


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.group)
def test_whatever_our_entries_name_is_there(registry):
    for name in registry.names():
        entry = registry.find(name)
        for field in fields(entry):
            dotted = getattr(entry, field.name)
            if isinstance(dotted, str) and ":" in dotted:
                assert load(dotted) is not None, (name, field.name)
        assert issubclass(load(entry.settings), Spec)
        assert entry.version == ""


def test_nothing_heavy_is_imported_before_it_is_named():
    code = "import sys, mnemodex.schemas.kinds as k; k.KINDS.find('dense'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "mnemodex.schemas.kinds" in loaded
    assert not {"torch", "faiss", "ray", "spacy", "duckdb", "mnemodex.indexers.dense.indexer"} & set(loaded)


@pytest.mark.parametrize(
    ("registry", "name", "message"),
    [
        (KINDS, "dnse", "unknown index type 'dnse'; did you mean 'dense'?"),
        (KINDS, "x", "unknown index type 'x'; known: dense, bm25, ngram, seal, graph, knn_lm, hybrid"),
        (CHUNKERS, "token", "unknown chunker 'token'; did you mean 'tokens'?"),
        (CHUNKERS, "qq", "unknown chunker 'qq'; known: document, tokens, sentences, headings, events ("),
        (ENCODERS, "open_ai", "unknown encoder 'open_ai'; did you mean 'openai'?"),
        (EXTRACTORS, "files", "unknown extractor 'files'; did you mean 'file'?"),
        (SOURCES, "jsn", "unknown source format 'jsn'; did you mean 'json'?"),
        (SOURCES, None, "unknown source format None; known: jsonl, text, json, csv, parquet"),
        (SOURCES, ["jsonl"], "unknown source format ['jsonl']"),
        (SOURCES, {}, "unknown source format {}; known: "),
        (SOURCES, 3, "unknown source format 3; known: "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(registry, name, message):
    with pytest.raises(RecipeError) as raised:
        registry.find(name)
    assert message in str(raised.value)
    assert f"packages that declare the entry point {registry.group})" in str(raised.value)
    assert not isinstance(raised.value, PluginError)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"indexes": {"a": {"type": "bm52"}}}, "r.yaml: indexes.a: unknown index type 'bm52'; did you mean 'bm25'?"),
        ({"embed": {"a": {"encoder": "sentence"}}}, "r.yaml: embed.a: unknown encoder 'sentence'"),
    ],
)
def test_the_recipe_says_where_an_unknown_name_is(sections, message):
    with pytest.raises(RecipeError) as raised:
        parsed(**sections)
    assert message in str(raised.value)


class TestPackages:
    def test_an_entry_of_a_package_is_found_with_its_version_and_suggested(self, packages):
        packages.install("line-chunks", "1.2", points=POINTS, lines_by=LINES)
        assert CHUNKERS.names() == ["document", "tokens", "sentences", "headings", "events", "lines"]
        found = CHUNKERS.find("lines")
        assert (found.settings, found.make, found.version) == (
            "lines_by:LineChunks",
            "lines_by:LineChunker",
            "line-chunks 1.2",
        )
        with pytest.raises(RecipeError, match="unknown chunker 'line'; did you mean 'lines'"):
            CHUNKERS.find("line")

    def test_it_is_not_imported_before_it_is_named(self, packages):
        packages.install("line-chunks", points=POINTS, lines_by="raise SystemExit('imported')")
        assert "lines" in CHUNKERS.names()
        assert parsed().chunks == DocumentChunks()

    def test_its_settings_are_checked_like_ours(self, packages):
        packages.install("line-chunks", points=POINTS, lines_by=LINES)
        made = parsed(chunks={"by": "lines", "least": 3}).chunks
        assert (type(made).__name__, made.least) == ("LineChunks", 3)
        with pytest.raises(RecipeError, match=r"r\.yaml: unknown key 'chunks\.lest'; did you mean 'least'"):
            parsed(chunks={"by": "lines", "lest": 3})

    def test_a_build_uses_it_and_its_next_version_makes_the_chunks_again(self, packages, inline, tmp_path):
        packages.install("line-chunks", "1.0", points=POINTS, lines_by=LINES)
        rows = [{"id": "a", "title": "A", "text": "one\ntwo two\n"}]
        recipe = words_recipe(write_jsonl(tmp_path / "n.jsonl", rows), tmp_path / "memory", chunks={"by": "lines"})
        mnemodex.build(recipe)
        found = mnemodex.open(tmp_path / "memory").sql("SELECT text FROM chunks ORDER BY ordinal").fetchall()
        assert found == [("one\n",), ("two two\n",)]
        assert computed(mnemodex.build(recipe)) == {}
        packages.install("line-chunks", "1.1", points=POINTS, lines_by=LINES)
        assert computed(mnemodex.build(recipe)) == {"chunks": 1, "words": 1}

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("import not_installed_at_all", "ModuleNotFoundError: No module named 'not_installed_at_all'"),
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("OTHER = 1", "AttributeError: module 'lines_by' has no attribute 'ENTRY'"),
            ("def", "SyntaxError: "),
        ],
    )
    def test_a_package_that_cannot_be_loaded_is_one_message(self, packages, source, reason):
        packages.install("line-chunks", "2.0", points=POINTS, lines_by=source)
        with pytest.raises(PluginError) as raised:
            parsed(chunks={"by": "lines"})
        expected = f"r.yaml: chunks: chunker 'lines': the package line-chunks 2.0 cannot be loaded ({reason}"
        assert str(raised.value).startswith(expected)
        assert str(raised.value).endswith("); update or uninstall it")
        assert parsed().chunks == DocumentChunks()

    @pytest.mark.parametrize(
        ("source", "what"),
        [
            ("ENTRY = 'a string'", "a str"),
            ("from mnemodex.schemas.kinds import Kind\nENTRY = Kind('a:b', 'a:c')", "a Kind"),
            ("class ENTRY: pass", "a type"),
        ],
    )
    def test_an_entry_of_a_wrong_class_is_refused(self, packages, source, what):
        packages.install("line-chunks", "2.0", points=POINTS, lines_by=source)
        message = (
            f"chunker 'lines': lines_by:ENTRY of line-chunks 2.0 is {what}, not a mnemodex.schemas.kinds.Component; "
            "update or uninstall the package"
        )
        with pytest.raises(PluginError) as raised:
            CHUNKERS.find("lines")
        assert str(raised.value) == message

    @pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.group)
    def test_two_packages_with_one_name_are_refused(self, packages, registry):
        points = {registry.group: {"extra": "nowhere:ENTRY"}}
        packages.install("one", "1.0", points=points)
        packages.install("two", "3.1", points=points)
        message = (
            rf"{registry.noun} 'extra' is declared by (one 1.0 and two 3.1|two 3.1 and one 1.0); uninstall all but"
        )
        with pytest.raises(PluginError, match=message):
            registry.find("extra")
        assert registry.names().count("extra") == 1

    @pytest.mark.parametrize(
        ("registry", "name"),
        [(KINDS, "dense"), (CHUNKERS, "document"), (ENCODERS, "openai"), (EXTRACTORS, "file"), (SOURCES, "jsonl")],
        ids=lambda value: getattr(value, "group", value),
    )
    def test_a_package_cannot_take_the_place_of_ours(self, packages, registry, name):
        packages.install("thief", "1.0", points={registry.group: {name: "nowhere:ENTRY"}})
        with pytest.raises(PluginError, match=f"{name}' is declared by mnemodex and thief 1.0; uninstall all but one"):
            registry.find(name)
        assert registry.names().count(name) == 1
        other = next(known for known in registry.names() if known != name)
        assert registry.find(other).version == ""

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            ('Component("lines_by:Nothing", "lines_by:x")', "AttributeError: module 'lines_by' has no attribute 'Not"),
            ('Component("not_there:Nothing", "lines_by:x")', "ModuleNotFoundError: No module named 'not_there'"),
        ],
    )
    def test_what_an_entry_names_must_be_there(self, packages, entry, reason):
        source = f"from mnemodex.schemas.kinds import Component\nENTRY = {entry}"
        packages.install("line-chunks", "2.0", points=POINTS, lines_by=source)
        with pytest.raises(PluginError) as raised:
            parsed(chunks={"by": "lines"})
        assert str(raised.value).startswith("r.yaml: chunks: ") and reason in str(raised.value)
        assert str(raised.value).endswith("update or uninstall the package that declares it")

    def test_a_kind_of_a_package_has_its_own_checks_and_steps(self, packages, inline, tmp_path):
        source = """
from typing import Literal
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import Kind
from mnemodex.schemas.recipe import IndexSettings

KIND = Kind(settings="shelves:Shelves", retriever="shelves:Retriever", check="shelves:check")


class Shelves(IndexSettings):
    type: Literal["shelves"]
    boards: int = 3


def check(index, settings, recipe):
    if settings.boards > 9:
        raise RecipeError(f"{settings.boards} boards are too many for {len(recipe.indexes)} index")


class Retriever:
    pass
"""
        packages.install("shelves", "0.3", points={"mnemodex.kinds": {"shelves": "shelves:KIND"}}, shelves=source)
        with pytest.raises(RecipeError, match=r"^r\.yaml: indexes\.a: 10 boards are too many for 1 index$"):
            parsed(indexes={"a": {"type": "shelves", "boards": 10}})
        notes = write_jsonl(tmp_path / "n.jsonl", records()[:2])
        recipe = {"source": str(notes), "memory": str(tmp_path / "memory"), "indexes": {"a": {"type": "shelves"}}}
        assert set(computed(mnemodex.build(recipe))) == {"documents", "chunks"}
        assert not mnemodex.build(recipe).committed
        packages.install("shelves", "0.4", points={"mnemodex.kinds": {"shelves": "shelves:KIND"}})
        again = mnemodex.build(recipe)
        assert (computed(again), again.committed) == ({}, True)


class TestFieldsOfAnyEntry:
    class Holder(Spec):
        chunker: AnyChunker

    def test_a_key_names_the_class(self):
        assert self.Holder(chunker={"by": "tokens", "size": 9}).chunker == TokenChunks(size=9)
        assert self.Holder(chunker={}).chunker == DocumentChunks()
        assert self.Holder(chunker=TokenChunks(size=9)).chunker == TokenChunks(size=9)

    def test_they_travel_as_json(self):
        made = self.Holder(chunker=TokenChunks(size=9))
        assert self.Holder.model_validate_json(made.model_dump_json()) == made
        assert json.loads(made.model_dump_json())["chunker"]["size"] == 9

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(RecipeError, match="unknown chunker 'token'; did you mean 'tokens'"):
            self.Holder(chunker={"by": "token"})


def test_load_gives_what_a_dotted_name_names():
    assert load("mnemodex.schemas.kinds:Kind") is Kind
