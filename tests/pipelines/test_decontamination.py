"""Documents that share words with an evaluation are left out at reading, and counted."""

from __future__ import annotations

import json
import re

import pytest
from builds import computed, keys
from hypothesis import given
from hypothesis import strategies as st
from library import words_recipe, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines.documents.contamination import EvaluationTexts, split_words
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import QueryError, RecipeError
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.source_sections import Decontamination

pytestmark = pytest.mark.usefixtures("inline")

QUESTION = "Which of the two old lighthouses on the northern coast was built before the harbour?"
COPY = "It is asked: which of the two, old lighthouses on the NORTHERN coast was built before the harbour."
NOTES = [
    {"id": f"k{n}", "text": f"Note {n} tells of the coast, the harbour and the {n} lighthouses."} for n in range(8)
]


@pytest.fixture
def folder(tmp_path):
    """Eight notes in two files, one of which holds the question in its text and one in its title."""
    rows = [dict(row) for row in NOTES]
    rows[2]["text"] = COPY
    rows[5]["title"] = QUESTION
    write_parts(tmp_path / "notes", rows, 2)
    write_jsonl(tmp_path / "test.jsonl", [{"id": "q1", "question": QUESTION}, {"id": "q2", "question": "Short?"}])
    return tmp_path


def recipe(folder, given="test.jsonl"):
    made = words_recipe(folder / "notes", folder / "memory")
    if isinstance(given, str):
        given = str(folder / given)
    return made | {"source": made["source"] | {"decontaminate": given}}


def test_documents_that_hold_a_question_are_left_out_counted_and_named(folder):
    result = mnemodex.build(recipe(folder))
    assert keys(folder / "memory") == ["k0", "k1", "k3", "k4", "k6", "k7"]
    assert result.warnings == [
        "2 documents left out: part-0.jsonl line 3: shares 13 words in a row with query 'q1' of test.jsonl; the table "
        "errors has them all",
        "source.decontaminate: 1 of 2 questions and answers have fewer than 13 words and are not looked for; a smaller "
        "n includes them",
    ]
    query = "SELECT stage, source, line, content FROM errors ORDER BY ALL"
    rows = mnemodex.open(folder / "memory").sql(query).fetchall()
    assert [row[:3] for row in rows] == [("decontaminate", "part-0.jsonl", 3), ("decontaminate", "part-1.jsonl", 2)]
    assert rows[0][3] == "which of the two old lighthouses on the northern coast was built before"
    assert verify(folder / "memory").problems == []
    assert mnemodex.build(recipe(folder)).warnings == result.warnings


def test_a_memory_shows_how_many_documents_were_left_out(folder, cli):
    mnemodex.build(recipe(folder))
    said = "2 documents left out that share words with an evaluation"
    assert said in cli("show", folder / "memory").out
    assert json.loads(cli("show", folder / "memory", "--json").out)["decontaminated"] == 2
    mnemodex.open(folder / "memory").delete(["k0"])
    assert said in cli("show", folder / "memory").out
    made = recipe(folder)
    del made["source"]["decontaminate"]
    mnemodex.build(made)
    assert "left out" not in cli("show", folder / "memory").out


def test_they_are_no_errors_of_the_source(folder):
    made = recipe(folder)
    made["source"]["max_errors"] = 0
    mnemodex.build(made)
    with (folder / "notes" / "part-0.jsonl").open("a") as file:
        file.write("{\n")
    made["source"]["max_errors"] = 1
    assert "1 row left out: part-0.jsonl line 5" in mnemodex.build(made).warnings[0]


def test_another_file_of_questions_reads_the_source_again_and_its_name_does_not(folder):
    mnemodex.build(recipe(folder))
    (folder / "test.jsonl").rename(folder / "renamed.jsonl")
    assert computed(mnemodex.build(recipe(folder, "renamed.jsonl"))) == {}
    other = [{"id": "q", "question": "What?", "answers": [NOTES[6]["text"] + " They are many."]}]
    write_jsonl(folder / "renamed.jsonl", other)
    result = mnemodex.build(recipe(folder, {"files": [str(folder / "renamed.jsonl")], "n": 9}))
    assert computed(result)["documents"] == 2
    # The number of a note is a word of it.
    assert keys(folder / "memory") == ["k0", "k1", "k2", "k3", "k4", "k5", "k7"]


def test_a_folder_of_beir_has_its_questions(folder):
    (folder / "beir" / "qrels").mkdir(parents=True)
    (folder / "beir" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tk1\t1\n")
    write_jsonl(folder / "beir" / "queries.jsonl", [{"_id": "q", "text": QUESTION}])
    assert "2 documents left out" in mnemodex.build(recipe(folder, "beir")).warnings[0]


def test_documents_that_are_added_or_updated_are_left_out_too(folder):
    mnemodex.build(recipe(folder))
    memory = mnemodex.open(folder / "memory")
    assert memory.add([{"id": "new", "text": COPY}, {"id": "good", "text": "Another note."}]) == 1
    assert memory.add([{"id": "new", "text": COPY}]) == 0
    assert memory.update([{"id": "k0", "text": COPY}]) == 0
    assert keys(folder / "memory") == ["good", "k0", "k1", "k3", "k4", "k6", "k7"]


def test_what_was_added_before_is_left_out_by_the_next_build_and_brings_nothing_back(folder):
    made = words_recipe(folder / "notes", folder / "memory")
    mnemodex.build(made)
    memory = mnemodex.open(folder / "memory")
    assert memory.add([{"id": "new", "text": COPY}]) == 1
    assert memory.update([{"id": "k0", "text": COPY}]) == 1
    result = mnemodex.build(recipe(folder))
    assert result.warnings[0].startswith("4 documents left out")
    assert keys(folder / "memory") == ["k1", "k3", "k4", "k6", "k7"]
    mnemodex.build(made)
    assert len(keys(folder / "memory")) == 9
    assert verify(folder / "memory").problems == []


def test_a_source_of_which_nothing_is_left_says_why(folder):
    write_jsonl(folder / "only.jsonl", [{"id": "a", "text": COPY}])
    made = recipe(folder)
    made["source"]["path"] = str(folder / "only.jsonl")
    for n, shared in ((13, "13 words in a row"), (1, "1 word")):
        made["source"]["decontaminate"] = {"files": [str(folder / "test.jsonl")], "n": n}
        left_out = f"no documents: 1 document left out: only.jsonl line 1: shares {shared} with query 'q1'"
        with pytest.raises(mnemodex.MnemodexError, match=left_out):
            mnemodex.build(made)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("no.jsonl", QueryError, "no.jsonl: cannot be read"),
        ({"files": ["test.jsonl"], "n": 40}, QueryError, "none of the 2 questions and answers has 40 words"),
        ({"files": [], "n": 4}, RecipeError, "source.decontaminate.files"),
        ({"files": ["test.jsonl"], "n": 0}, RecipeError, "source.decontaminate.n"),
        (7, RecipeError, "source.decontaminate"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(folder, given, error, said, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(error, match=re.escape(said)):
        mnemodex.build(recipe(folder, given))
    assert not (folder / "memory" / "CURRENT").exists()


def test_a_single_file_may_be_given_without_a_list(folder):
    alone, listed = (recipe(folder, {"files": files, "n": 8}) for files in ("test.jsonl", ["test.jsonl"]))
    hashes = {parse_recipe(one, name="recipe", base=folder).hash() for one in (alone, listed)}
    assert len(hashes) == 1


def test_a_recipe_that_leaves_nothing_out_keeps_its_hash(folder):
    made = words_recipe(folder / "notes", folder / "memory")
    plain, clean = (parse_recipe(one, name="recipe", base=folder) for one in (made, recipe(folder)))
    written = plain.model_dump(mode="json", by_alias=True, exclude={"memory": True, "qa_pairs": True})
    del written["source"]["decontaminate"]
    assert plain.hash() == fingerprint(written) != clean.hash()


WORDS = st.lists(st.sampled_from(["tide", "mill", "Olme", "wheel", "7", "salt", "Straße", "港", "वन"]), max_size=14)


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS, WORDS, st.integers(1, 4))
def test_what_is_found_is_a_common_ngram_where_there_is_one(tmp_path_factory, asked, title, text, n):
    path = tmp_path_factory.getbasetemp() / "hypothesis.jsonl"
    write_jsonl(path, [{"id": f"q{row}", "question": " ".join(words)} for row, words in enumerate(asked)])
    settings = Decontamination(files=(str(path),), n=n)

    def ngrams(words):
        cut = split_words(" ".join(words))
        return {" ".join(cut[at : at + n]) for at in range(len(cut) - n + 1)}

    known = [ngrams(words) for words in asked]
    if not any(known):
        with pytest.raises(QueryError, match=r"give `source\.decontaminate` a smaller n"):
            EvaluationTexts(settings)
        return
    _, shared, _ = EvaluationTexts(settings).find([(), ("; ".join(title), " - ".join(text).upper()), ("x",)])
    common = (ngrams(title) | ngrams([" - ".join(text).upper()])) & set().union(*known)
    assert (shared is not None) == bool(common)
    if shared is not None:
        assert shared.ngram in common and shared.ngram in known[int(shared.query[1:])]


def test_words_are_without_case_punctuation_and_spaces_of_scripts_that_have_none():
    assert split_words("The U.S. Mill, re-built (1901)!") == ["the", "u", "s", "mill", "re", "built", "1901"]
    assert split_words("\uff21\uff22\uff23 Straße 港の灯台") == ["abc", "straße", "港", "の", "灯", "台"]
