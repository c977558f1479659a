"""Triples in a build: from a file, what of them is left out, what extracts them again, and where they can be seen."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from builds import computed, manifest
from library import write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines.extractors.extract import TripleStats
from mnemodex.pipelines.extractors.sorting import SortStats
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import RecipeError, SourceError

pytestmark = pytest.mark.usefixtures("inline")

NOTES = [
    {"id": "ada", "title": "Ada Lovelace", "text": "Ada Lovelace wrote notes on the engine of Charles Babbage."},
    {"id": "babbage", "title": "Charles Babbage", "text": "He designed the Analytical Engine in London."},
    {"id": "moss", "title": "Moss", "text": "It grows."},
    {"id": 7, "title": "Маяк", "text": "Маяк стоит в Одессе."},
]
OPENIE = [
    {"id": "ada", "entities": [], "triples": [["Ada Lovelace", "wrote on", "the Engine"], ["Ada", "was", "x"]]},
    {"id": "babbage", "triples": [["Charles  Babbage", "designed", "The engine"], ["Babbage", "in", "London"]]},
    {"id": "moss", "triples": []},
    {"id": 7, "triples": [["Маяк", "стоит в", "Одесса"]]},
]


@pytest.fixture
def file(tmp_path):
    return write_jsonl(tmp_path / "openie.jsonl", OPENIE)


@pytest.fixture
def recipe(tmp_path, file):
    source = write_parts(tmp_path / "notes", NOTES, 2)
    return {
        "source": {"path": str(source)},
        "memory": str(tmp_path / "memory"),
        "indexes": {},
        "triples": {"from": str(file)},
    }


def rows(recipe, query):
    return mnemodex.open(recipe["memory"]).sql(query).fetchall()


FACTS = (
    "SELECT d.key, t.ordinal, t.subject, t.predicate, t.object FROM triples t JOIN chunks c USING (chunk_id) "
    "JOIN documents d USING (doc_id) ORDER BY ALL"
)


def test_triples_and_mentions_are_tables_and_views(recipe):
    result = mnemodex.build(recipe)
    assert rows(recipe, FACTS) == [
        ("7", 0, "Маяк", "стоит в", "Одесса"),
        ("ada", 0, "Ada Lovelace", "wrote on", "the Engine"),
        ("ada", 1, "Ada", "was", "x"),
        ("babbage", 0, "Charles Babbage", "designed", "The engine"),
        ("babbage", 1, "Babbage", "in", "London"),
    ]
    assert rows(
        recipe,
        "SELECT m.name, m.triples FROM mentions m JOIN chunks c USING (chunk_id) WHERE c.title = 'Ada Lovelace'",
    ) == [("Ada Lovelace", 1), ("the Engine", 1), ("Ada", 1), ("x", 1)]
    assert rows(recipe, "SELECT count(DISTINCT object_id) FROM triples WHERE object ILIKE 'the engine'") == [(1,)]
    assert result.warnings == ["triples: 1 of 4 documents have none"]
    assert verify(recipe["memory"]).problems == []


def test_bad_triples_are_left_out_counted_and_in_the_errors_table(recipe, file):
    bad = [["one", "two"], ["a", "b", "c", "d"], "prose", ["Ada", "is", "ADA!"], ["?", "is", "Ada"], [None, "b", "c"]]
    good = [["X", "is", "Ada"], ["Ada", "->", "B"], ["Ada", "born in", 1815]]
    write_jsonl(file, [{"id": "ada", "triples": [*bad, *good]}])
    result = mnemodex.build(recipe)
    assert [row[2:] for row in rows(recipe, FACTS)] == [
        ("X", "is", "Ada"),
        ("Ada", "->", "B"),
        ("Ada", "born in", "1815"),
    ]
    assert result.warnings[0].startswith(
        "triples: 6 of 9 left out (4 not three strings, 1 a name without letters, 1 one entity twice)"
    )
    assert result.warnings[1] == "triples: 3 of 4 documents have none"
    assert rows(recipe, "SELECT stage, source, line, content FROM errors WHERE reason LIKE '%one entity'") == [
        ("triples", "openie.jsonl", 1, "['Ada', 'is', 'ADA!']")
    ]
    assert rows(recipe, "SELECT count(*) FROM errors") == [(6,)]
    stats = manifest(recipe["memory"]).tables["triples"].partitions[0].stats.of(TripleStats)
    assert (stats.counts["one_character"], stats.counts["no_predicate"], stats.failed) == (2, 1, 0)
    assert verify(recipe["memory"]).problems == []


def test_lines_that_cannot_be_read_count_against_the_limit(recipe, file):
    lines = ["{", '{"id": "ada"}', "[]", '{"triples": []}', json.dumps(OPENIE[1])]
    file.write_text("\n".join(lines) + "\n\n")
    recipe["triples"]["max_errors"] = 3
    with pytest.raises(
        SourceError, match=r"more than `triples.max_errors: 3` lines cannot be read: openie.jsonl line 1: is not"
    ):
        mnemodex.build(recipe)
    recipe["triples"]["max_errors"] = "79%"
    with pytest.raises(SourceError, match=r"more than `triples.max_errors: 79%` lines cannot be read"):
        mnemodex.build(recipe)
    recipe["triples"]["max_errors"] = 4
    result = mnemodex.build(recipe)
    assert "triples: 4 failures: openie.jsonl line 1: is not JSON" in result.warnings[0]
    assert rows(recipe, "SELECT line FROM errors WHERE stage = 'triples' ORDER BY line") == [(1,), (2,), (3,), (4,)]
    assert len(rows(recipe, FACTS)) == 2 and verify(recipe["memory"]).problems == []
    assert mnemodex.build(recipe).warnings == result.warnings
    recipe["triples"]["max_errors"] = 3
    with pytest.raises(SourceError, match=r"more than `triples.max_errors: 3` lines cannot be read: openie.jsonl line"):
        mnemodex.build(recipe)


def test_ids_that_no_document_has_are_counted(recipe, file):
    write_jsonl(file, [{"id": "who", "triples": [["a b", "c", "d e"]]}, *OPENIE])
    assert "1 of 5 entries" in mnemodex.build(recipe).warnings[0]
    assert "(the first: line 1)" in mnemodex.build(recipe).warnings[0]
    assert len(rows(recipe, FACTS)) == 5


def test_a_file_of_which_no_line_is_of_use_fails_the_build(recipe, file):
    write_jsonl(file, [{"id": f"who{n}", "triples": [["a b", "c", "d e"]]} for n in range(3)])
    with pytest.raises(SourceError, match=r"none of its 3 lines is of use: 3 entries are about no .*first: line 1"):
        mnemodex.build(recipe)
    file.write_text("a,b,c\nd,e,f\n")
    with pytest.raises(SourceError, match=r"none of its 2 lines is of use: openie.jsonl line 1: is not JSON"):
        mnemodex.build(recipe)


def test_a_document_may_have_several_lines(recipe, file):
    write_jsonl(file, [{"id": "ada", "triples": [["A B", "c", f"D{n}"]]} for n in range(3)])
    mnemodex.build(recipe)
    assert [row[4] for row in rows(recipe, FACTS)] == ["D0", "D1", "D2"]


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_hipporag_files_are_tied_by_title_and_text(recipe, tmp_path, suffix):
    docs = [
        {
            "idx": f"chunk-{n}",
            "passage": f"{note['title']}\n{note['text']}" if n else note["text"],
            "extracted_entities": [],
            "extracted_triples": line["triples"],
        }
        for n, (note, line) in enumerate(zip(NOTES, OPENIE, strict=True))
    ]
    docs += [{"idx": "chunk-x", "passage": "nowhere", "extracted_triples": [["a b", "c", "d e"]]}, {"idx": "y"}]
    data = json.dumps({"docs": docs, "avg_ent_chars": 1.0}).encode()
    path = tmp_path / f"openie{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    mnemodex.build(recipe)
    expected = rows(recipe, FACTS)
    result = mnemodex.build({**recipe, "triples": {"from": str(path)}})
    assert rows(recipe, FACTS) == expected
    assert "line 6: is not" in result.warnings[0] and "1 of 6 entries" in result.warnings[1]


def test_triples_go_to_the_chunk_that_holds_their_names(recipe, tmp_path, file):
    text = "Olme has a harbour with two long piers. " * 3 + "The keeper winds the lamp. " * 3 + "Olme sells salt. " * 3
    write_parts(tmp_path / "notes", [{"id": "olme", "title": "A town", "text": text}], 1)
    (tmp_path / "notes" / "part-1.jsonl").unlink()
    triples = [
        ["keeper", "of", "lamp"],
        ["OLME", "sells", "Salt"],
        ["Olme", "is", "nowhere"],
        ["a town", "has", "salt"],
    ]
    write_jsonl(file, [{"id": "olme", "triples": [*triples, ["void", "is", "Olme"], ["broken"]]}])
    mnemodex.build({**recipe, "chunks": {"by": "tokens", "size": 12, "overlap": 0}})
    query = "SELECT object, c.text, c.ordinal FROM triples JOIN chunks c USING (chunk_id) ORDER BY c.ordinal, 1"
    found = {object_: (text, ordinal) for object_, text, ordinal in rows(recipe, query)}
    assert "keeper" in found["lamp"][0] and "lamp" in found["lamp"][0]
    assert "sells salt" in found["Salt"][0] and found["Salt"][1] > 2
    assert found["salt"] == found["Salt"], "the title is in every chunk"
    assert found["nowhere"][1] == found["Olme"][1] == 0


def test_an_unchanged_build_computes_nothing_and_reads_no_file(recipe, monkeypatch):
    first = mnemodex.build(recipe)
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", lambda *_, **__: pytest.fail("started"))
    monkeypatch.setattr("mnemodex.pipelines.extractors.sorting.read_entries", lambda path: pytest.fail("read"))
    monkeypatch.setattr("mnemodex.pipelines.contents.sha256", lambda path: pytest.fail("read"))
    result = mnemodex.build(recipe)
    assert (result.committed, computed(result), result.warnings) == (False, {}, first.warnings)


def test_only_partitions_whose_lines_changed_are_made_again(recipe, file):
    mnemodex.build(recipe)
    write_jsonl(file, [*OPENIE, {"id": 7, "triples": [["a b", "c", "d e"]]}])
    graph = {"facts and entities: sort": 1, "facts and entities": 1, "edges": 1}
    assert computed(mnemodex.build(recipe)) == {"triples: lines": 1, "triples": 1, "mentions": 1, **graph}
    moved = file.with_suffix(".jsonl.gz")
    moved.write_bytes(gzip.compress(file.read_bytes()))
    compressed = {**recipe, "triples": {"from": str(moved), "max_errors": 3}}
    assert computed(mnemodex.build(compressed)) == {"triples: lines": 1}
    shutil.rmtree(manifest_root(recipe) / "work")
    assert computed(mnemodex.build(recipe)) == {}
    assert computed(mnemodex.build({**recipe, "id_salt": "x"}))["triples"] == 2
    assert verify(recipe["memory"]).problems == []


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_addition_reads_only_the_lines_about_new_documents(recipe, file, tmp_path, monkeypatch, mark):
    more = [{"id": "olme", "triples": [["Olme", "sells", "salt"]]}, {"id": "nobody", "triples": [["x", "is", "y"]]}]
    lines = [json.dumps(row) for row in [*OPENIE[:2], more[0], *OPENIE[2:], more[1], more[0]]]
    file.write_bytes(mark + "\n".join([lines[0], "{", "", *lines[1:]]).encode())
    recipe["triples"]["max_errors"] = 1
    mnemodex.build(recipe)
    added = {"id": "olme", "title": "Olme", "text": "Olme is a town of salt."}
    with monkeypatch.context() as patched:
        patched.setattr("mnemodex.pipelines.extractors.sorting.read_entries", lambda path: pytest.fail("read"))
        memory = mnemodex.open(recipe["memory"])
        memory.add([added])
    write_jsonl(tmp_path / "notes" / "part-9.jsonl", [added])
    whole = {**recipe, "memory": str(tmp_path / "whole")}
    mnemodex.build(whole)
    lines = [manifest(path).caches["tables/triple_lines"].partitions[0] for path in (recipe["memory"], whole["memory"])]
    stats = [part.stats.of(SortStats) for part in lines]
    assert [(of.lines, of.unknown, of.example, of.errors) for of in stats] == [(8, 1, "line 8", 1)] * 2
    assert rows(recipe, FACTS) == rows(whole, FACTS)
    assert rows(recipe, "SELECT * FROM errors") == rows(whole, "SELECT * FROM errors")
    assert verify(recipe["memory"]).problems == []


def manifest_root(recipe):
    from pathlib import Path

    return Path(recipe["memory"])


def test_lost_errors_are_made_again(recipe, file):
    write_jsonl(file, [{"id": "ada", "triples": [["one"]]}])
    mnemodex.build(recipe)
    for lost in (manifest_root(recipe) / "tables" / "errors").glob("triples-*"):
        lost.unlink()
    assert computed(mnemodex.build(recipe)) == {"triples": 1}
    assert verify(recipe["memory"]).problems == []


@pytest.mark.parametrize(
    ("triples", "error", "reason"),
    [
        (
            {"from": "missing.jsonl"},
            SourceError,
            "missing.jsonl: no such file or folder, not a file of triples",
        ),
        ({"extractor": "magic"}, RecipeError, "recipe: triples: unknown extractor 'magic'; known: file, spacy, llm"),
        ({"extractor": "spacy", "modle": "x"}, RecipeError, "unknown key 'triples.modle'; did you mean 'model'"),
        ({"extractor": "llm", "model": "m"}, RecipeError, "'triples.base_url' is missing"),
    ],
)
def test_a_wrong_section_is_refused_before_any_work(recipe, triples, error, reason):
    with pytest.raises(error, match=reason):
        mnemodex.build({**recipe, "triples": triples})
    assert not manifest_root(recipe).exists()


def test_an_empty_or_strange_file_is_refused(recipe, file, tmp_path):
    file.write_text("")
    with pytest.raises(SourceError, match="is empty"):
        mnemodex.build(recipe)
    other = tmp_path / "list.json"
    other.write_text('[{"title": "x"}]')
    with pytest.raises(SourceError, match="is not HippoRAG's"):
        mnemodex.build({**recipe, "triples": {"from": str(other)}})


def test_relative_paths_start_at_the_recipe(recipe, tmp_path, file):
    text = f"source: notes\nmemory: memory\nindexes: {{}}\ntriples: {{from: {file.name}}}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    mnemodex.build(tmp_path / "recipe.yaml")
    assert manifest(tmp_path / "memory").recipe["triples"]["from"] == str(file)


def test_a_damaged_memo_is_made_again(recipe):
    mnemodex.build(recipe)
    (memo,) = (manifest_root(recipe) / "work").glob("content-*.json")
    memo.write_text(memo.read_text().replace('{"value": "', '{"value": "0'))
    assert any("damaged" in problem for problem in verify(recipe["memory"]).problems)
    assert computed(mnemodex.build(recipe)) == {}
    assert verify(recipe["memory"]).problems == []


def test_without_the_section_there_are_no_triples(recipe):
    mnemodex.build({key: value for key, value in recipe.items() if key != "triples"})
    assert "triples" not in manifest(recipe["memory"]).tables
