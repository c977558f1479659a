"""Packages that are wrong: each is one message, and the memory stays what it was."""

from __future__ import annotations

import json
import sys

import pytest
from commands import assert_refused
from library import records, write_parts

import mnemodex
from mnemodex.pipelines.verify import verify

ODD = """
from typing import Literal

import pyarrow as pa

from mnemodex.pipelines.ops.base import Op, Stage
from mnemodex.retrievers.hits import Hits
from mnemodex.schemas.kinds import Component, Kind
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.steps import All, IndexKey, Read, Step
from mnemodex.schemas.tables import CHUNKS, TableKey, TableSpec

SCHEMA = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in ("chunk_id", "size")])
SPEC = TableSpec(SCHEMA, id_column="chunk_id", parents={"chunk_id": "chunks"})


class Settings(IndexSettings):
    type: Literal["odd"] = "odd"


class Sizes(Stage):
    Settings = Settings
    columns = ("chunk_id", "text")
    table = SPEC

    def run(self, batches):
        for batch in batches:
            yield self.rows(batch["chunk_id"], [len(text) for text in batch["text"].to_pylist()])

    def rows(self, ids, sizes):
        return pa.record_batch([ids, pa.array(sizes, pa.int64())], schema=SCHEMA)


class Total(Op):
    Settings = Settings

    def run(self, inputs, output):
        output.rows = sum(part.rows for part in inputs.partitions(0))
        (output.folder / "rows.txt").write_text(str(output.rows))
        return Stats()


def tables(name, settings):
    return {TableKey("sizes", name): SPEC}


def steps(context, name, settings, key=None):
    key = key or TableKey("sizes", name)
    yield Step(f"{name}: sizes", "odd:Sizes", (Read(CHUNKS),), (key,), settings)
    yield Step(name, "odd:Total", (Read(key, All()),), (IndexKey(name),), settings)


class Retriever:
    def __init__(self, memory, entry):
        self.name = entry.name
        self.memory = memory

    def search(self, queries, k=10, *, where=None):
        raise LookupError("no hits\\nat all")


KIND = Kind(settings="odd:Settings", retriever="odd:Retriever", tables="odd:tables", steps="odd:steps")
"""
"""A kind that can be built; each test adds what is wrong with it."""

POINTS = {"mnemodex.kinds": {"odd": "odd:KIND"}}
SIZES = "a: sizes partition part-0.jsonl-00000: sizes/a: "
FAILED = "index type 'odd': the package odd 2.0 failed "
UNINSTALL = "; update or uninstall it\n"


@pytest.fixture
def packages(packages, monkeypatch):
    # The versions of a module may be of one second and one size, which is all that Python's cache looks at.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return packages


@pytest.fixture
def recipe(tmp_path, inline):
    write_parts(tmp_path / "notes", records()[:6], 2)
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps({"source": "notes", "memory": "memory", "indexes": {"a": {"type": "odd"}}}))
    return path


def state(memory):
    """What is committed, and how much of it there is."""
    return (memory / "CURRENT").read_text(), mnemodex.open(memory).sql("SELECT sum(size) FROM sizes_a").fetchall()


def refused_build(packages, cli, recipe, wrong, *, code, saying, points=POINTS):
    """A build with a new version of the package is refused; the memory is as before, and can still be built."""
    memory = recipe.parent / "memory"
    packages.install("odd", "1.0", points=POINTS, odd=ODD)
    assert cli("build", recipe).code == 0
    before = state(memory)
    packages.install("odd", "2.0", points=points, odd=ODD + wrong)
    refused = cli("build", recipe)
    assert_refused(refused, code=code, saying=saying)
    assert "internal error" not in refused.err
    packages.install("odd", "1.0", points=POINTS, odd=ODD)
    assert state(memory) == before and verify(memory).problems == []
    assert cli("build", recipe, "--json").json["committed"] is False
    return refused.err


class TestLoading:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ("\n1 / 0", "index type 'odd': the package odd 2.0 cannot be loaded (ZeroDivisionError: division by zero)"),
            ("\nKIND = 5", "index type 'odd': odd:KIND of odd 2.0 is a int, not a mnemodex.schemas.kinds.Kind"),
            ("\nKIND = Component('a:b', 'a:c')", "index type 'odd': odd:KIND of odd 2.0 is a Component, not a mnemode"),
            (
                "\nKIND = Kind('odd:Gone', 'odd:Retriever')",
                "odd:Gone cannot be loaded (AttributeError: module 'odd' has",
            ),
            (
                "\nfrom mnemodex.schemas.spec import Spec\nclass Settings(Spec):\n    type: str",
                "index type 'odd': odd:Settings of odd 2.0 is no subclass of IndexSettings",
            ),
            ("\nSettings = {}", "index type 'odd': odd:Settings of odd 2.0 is no subclass of IndexSettings"),
        ],
    )
    def test_what_cannot_be_loaded_or_is_something_else_is_refused(self, packages, cli, recipe, wrong, message):
        said = refused_build(packages, cli, recipe, wrong, code=2, saying=f"{recipe}: indexes.a: {message}")
        assert "; update or uninstall " in said

    def test_other_settings_than_a_spec_are_refused_too(self, packages, cli, recipe):
        points = {**POINTS, "mnemodex.chunkers": {"odd": "odd:CHUNKER"}}
        packages.install("odd", points=points, odd=f"{ODD}\nCHUNKER = Component('odd:Total', 'odd:Total')")
        recipe.write_text(json.dumps({"source": "notes", "chunks": {"by": "odd"}}))
        message = f"{recipe}: chunks: chunker 'odd': odd:Total of odd 1.0 is no subclass of Spec; update or uninstall"
        assert_refused(cli("build", recipe), saying=message)

    @pytest.mark.parametrize("name", ["odd", "bm25"])
    def test_two_of_one_name_are_refused(self, packages, cli, recipe, name):
        packages.install("odd", "1.0", points=POINTS, odd=ODD)
        assert cli("build", recipe).code == 0
        before = state(recipe.parent / "memory")
        packages.install("thief", "3.0", points={"mnemodex.kinds": {name: "odd:KIND"}})
        recipe.write_text(recipe.read_text().replace('"odd"', f'"{name}"'))
        refused = cli("build", recipe)
        assert_refused(refused, saying=f"{recipe}: indexes.a: index type {name!r} is declared by ")
        assert "thief 3.0" in refused.err and refused.err.endswith("; uninstall all but one\n")
        assert state(recipe.parent / "memory") == before


class TestSteps:
    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ("def steps(context, name, settings):\n    {}['none']\n    yield", "KeyError: 'none'"),
            ("def steps(context):\n    pass", "TypeError: steps() takes 1 positional argument but 3 were given"),
            (
                "def steps(context, name, settings):\n    yield 5",
                "AttributeError: 'int' object has no attribute 'identity'",
            ),
            ("def tables(name, settings):\n    raise OSError('no disk')", "OSError: no disk"),
            ("def tables(name, settings):\n    return 5", "TypeError: "),
        ],
    )
    def test_functions_that_raise_are_the_fault_of_the_package(self, packages, cli, recipe, wrong, reason):
        said = refused_build(packages, cli, recipe, f"\n{wrong}\n", code=2, saying=f"error: {FAILED}({reason}")
        assert said.endswith(UNINSTALL)

    def test_a_check_that_raises_is_too(self, packages, cli, recipe):
        wrong = "\ndef check(*arguments): assert False, 'odd'\nKIND = Kind('odd:Settings', 'odd:R', check='odd:check')"
        message = f"{recipe}: indexes.a: {FAILED}(AssertionError: odd){UNINSTALL}"
        refused_build(packages, cli, recipe, wrong, code=2, saying=message)

    def test_a_step_of_something_else_than_an_op_is_refused(self, packages, cli, recipe):
        message = "a: sizes: odd:Sizes is no Op and no Stage; correct the step"
        refused_build(packages, cli, recipe, "\nclass Sizes:\n    version = 1\n", code=2, saying=message)

    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("CHUNKS", "table chunks (a: sizes) is written by two steps (chunks); rename one of them in the recipe"),
            ("TableKey('files')", "table files (a: sizes) has the name of a view of the catalogue; rename it"),
            (
                "TableKey('ngram_pairs', 'p')",
                "table ngram_pairs/p (a: sizes) is written by two steps (ngram_pairs/p); rename one of them in",
            ),
            (
                "TableKey('ngram_pairs_p')",
                "table ngram_pairs_p (a: sizes) has the SQL view of ngram_pairs/p (ngram_pairs/p); rename one of",
            ),
        ],
    )
    def test_a_table_with_the_view_of_one_of_ours_is_refused(self, packages, cli, recipe, key, message):
        pairs = {"p": {"unsupervised": 1}}
        recipe.write_text(json.dumps({**json.loads(recipe.read_text()), "ngram_pairs": pairs}))
        wrong = f"\ngood = steps\ndef steps(*arguments): return good(*arguments, {key})"
        if message.endswith(("rename it", "rename one of")):
            wrong += f"\ndef tables(*arguments): return {{{key}: SPEC}}"
        refused_build(packages, cli, recipe, wrong, code=2, saying=message)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ("tables(*arguments): return {}", "odd:Sizes writes the table sizes/a, which no kind declares; declare it"),
            (
                "tables(*arguments): return {CHUNKS: SPEC}",
                "index type 'odd' declares the table chunks, which is ours; rename it",
            ),
            (
                "tables(name, _): return {TableKey('sizes', name): TableSpec(SCHEMA, parents={'chunk_id': 'nope'})}",
                "odd:Sizes: the table sizes/a says that chunk_id is an id of nope, which is no table; correct ",
            ),
            (
                "tables(name, _): return {TableKey('sizes', name): TableSpec(SCHEMA, id_column='nope')}",
                "odd:Sizes: the table sizes/a has no column 'nope'; correct its declaration",
            ),
        ],
    )
    def test_a_wrong_declaration_is_refused_before_anything_is_computed(self, packages, cli, recipe, wrong, message):
        refused_build(packages, cli, recipe, f"\ndef {wrong}\n", code=2, saying=message)

    def test_two_of_its_own_tables_with_one_view_are_refused(self, packages, cli, recipe):
        data = json.loads(recipe.read_text())
        recipe.write_text(json.dumps({**data, "indexes": {"a": {"type": "odd"}, "a_b": {"type": "odd"}}}))
        wrong = """
good = steps
def steps(context, name, settings):
    return good(context, name, settings, TableKey("sizes", name, "b") if name == "a" else None)
def tables(name, settings):
    return {TableKey("sizes", name, "b" if name == "a" else ""): SPEC}
"""
        message = (
            "table sizes/a_b (a_b: sizes) has the SQL view of sizes/a/b (a: sizes); rename one of them in the recipe"
        )
        refused_build(packages, cli, recipe, wrong, code=2, saying=message)


class TestRows:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (
                "Sizes.run = lambda self, batches: [pa.record_batch({'chunk_id': [1]})]",
                f"{SIZES}a batch has the columns chunk_id int64, not chunk_id int64, size int64; correct odd:Sizes",
            ),
            (
                "Sizes.table = TableSpec(SCHEMA.remove(1))",
                f"{SIZES}rows have the columns chunk_id int64, not chunk_id int64, size int64; correct odd:Sizes",
            ),
            (
                "Sizes.run = lambda self, batches: [self.rows(pa.array([-5, -5]), [1, 2])]",
                f"{SIZES}the chunk_id -5 of 2 rows is none of chunks; correct odd:Sizes",
            ),
            (
                "Sizes.run = lambda self, batches: [self.rows(b['chunk_id'].take([0, 0]), [1, 2]) for b in batches]",
                f"{SIZES}2 rows have the chunk_id ",
            ),
            ("Sizes.run = lambda self, batches: 1 / 0", "a: sizes partition part-0.jsonl-00000: ZeroDivisionError: di"),
            (
                "Total.run = lambda self, inputs, output: Stats()",
                "a partition all: nothing was written for a; correct odd:Total",
            ),
        ],
    )
    def test_what_is_not_as_declared_is_refused(self, packages, cli, recipe, wrong, message):
        refused_build(packages, cli, recipe, f"\n{wrong}\n", code=1, saying=f"error: {message}")

    def test_ids_of_its_own_that_occur_twice_are_refused(self, packages, cli, recipe):
        wrong = """
SCHEMA = SCHEMA.append(pa.field("size id", pa.int64(), nullable=False))
SPEC = Sizes.table = TableSpec(SCHEMA, id_column="size id", parents={"chunk_id": "chunks"})
Sizes.rows = lambda self, ids, sizes: pa.record_batch([ids, sizes, list(range(len(ids)))], schema=SCHEMA)
"""
        # The two partitions are numbered alike.
        said = refused_build(packages, cli, recipe, wrong, code=1, saying="error: two rows have the size id ")
        assert said[-60:].endswith(": every row of sizes/a needs its own; correct odd:Sizes\n")


class TestSearching:
    @pytest.mark.parametrize(
        ("wrong", "reason"),
        [
            ("", "LookupError: no hits at all"),
            ("class Retriever: pass", "TypeError: Retriever() takes no arguments"),
            ("class Retriever:\n    def __init__(self, memory, entry): 1 / 0", "ZeroDivisionError: division by zero"),
            (
                "class Retriever:\n    def __init__(self, *a): pass",
                "AttributeError: 'Retriever' object has no attribute",
            ),
            ("Retriever.search = lambda self, queries, k, where: [[1]]", "AttributeError: 'list' object has no attrib"),
        ],
    )
    def test_a_retriever_that_fails_is_the_fault_of_the_package(self, packages, cli, recipe, wrong, reason):
        packages.install("odd", "2.0", points=POINTS, odd=f"{ODD}\n{wrong}\n")
        assert cli("build", recipe).code == 0
        memory = recipe.parent / "memory"
        refused = cli("search", memory, "a", "ships")
        assert_refused(refused, saying=f"error: {FAILED}({reason}")
        assert refused.err.endswith(UNINSTALL)
        queries = recipe.parent / "queries.jsonl"
        queries.write_text('{"id": "1", "question": "ships", "gold_ids": ["harbour-1"]}\n')
        assert_refused(cli("eval", memory, "a", "--queries", queries), saying=FAILED)
        assert cli("show", memory, "a").code == cli("sql", memory, "SELECT * FROM sizes_a").code == 0

    def test_errors_of_ours_are_not_blamed_on_it(self, packages, cli, recipe):
        wrong = "from mnemodex.retrievers.base import check\nRetriever.search = lambda self, q, k, where: check(q, k)"
        packages.install("odd", "2.0", points=POINTS, odd=f"{ODD}\n{wrong}\n")
        assert cli("build", recipe).code == 0
        memory = recipe.parent / "memory"
        assert_refused(cli("search", memory, "a", "ships", "-k", "0"), saying="error: k is 0; ask for at least 1 hit")
