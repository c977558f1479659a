"""`mnemodex eval --text`: what a next-token index does to its model's predictions, and what is refused."""

from __future__ import annotations

import gzip
import json

import pytest
from commands import assert_refused
from library import records, write_jsonl

from mnemodex.retrievers.memory import Memory

NOTES = "\n\n".join(record["text"] for record in records()[:6])


@pytest.fixture
def note(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text(NOTES, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path):
    for number, record in enumerate(records()[::5]):
        (tmp_path / f"notes-{number}.txt").write_text(record["text"], encoding="utf-8")
    return tmp_path


def test_the_json_holds_the_figures(cli, library, note):
    told = cli("eval", library, "next", "--text", note, "-k", 8, "--weight", 0.5, "--json").json
    assert told["index"] == "next" and (told["texts"], told["texts_left_out"]) == (1, 0)
    assert told["settings"] == {
        "k": 8,
        "weight": 0.5,
        "temperature": Memory(library).retriever("next").info.scale,
        "gate": None,
        "rescore": False,
        "pointers": None,
    }
    assert told["ratio"] == pytest.approx(told["perplexity_with_memory"] / told["perplexity"]) and told["ratio"] < 0.9
    assert sum(place["tokens"] for place in told["by_place"].values()) == told["tokens"] == told["lookups"]["done"]
    percents = told["helped"]["percent"], told["harmed"]["percent"], told["unchanged_percent"]
    assert sum(percents) == pytest.approx(100) and told["helped"]["median_nats"] > 0 > told["harmed"]["median_nats"]
    assert told["tokens_per_second"] > 0 and told["lookups_per_second"] > 0


def test_people_get_tables(cli, library, note):
    ran = cli("eval", library, "next", "--text", note, "-k", 8, "--gate", 3, "--pointers", 2, "--temperature", 9)
    assert ran.code == 0 and "texts, k 8, weight 0.25, temperature 9, gate 3, pointers 2" in ran.out
    for part in ("everywhere", "0-128", "with memory", "helped", "harmed", "look-ups, ", "tokens/s by the model"):
        assert part in ran.out


@pytest.mark.parametrize("form", ["jsonl.gz", "folder"])
def test_a_text_is_what_a_source_reads(cli, library, tmp_path, form):
    rows = [{"id": f"n{number}", "text": record["text"]} for number, record in enumerate(records()[:3])]
    rows.append({"id": "blank", "text": " \n "})
    if form == "folder":
        path = tmp_path / "folder"
        path.mkdir()
        for row in rows:
            (path / f"{row['id']}.md").write_text(row["text"])
    else:
        path = tmp_path / "notes.jsonl.gz"
        path.write_bytes(gzip.compress(write_jsonl(tmp_path / "n.jsonl", rows).read_bytes()))
    told = cli("eval", library, "next", "--text", path, "-k", 4, "--json").json
    assert (told["texts"], told["texts_left_out"]) == (3, 1)


def test_settings_are_tuned_on_one_half_and_used_on_other_texts(cli, library, folder, note, tmp_path):
    settings = tmp_path / "fitted.json"
    asked = ("eval", library, "next", "--text", folder, "-k", 8, "--tune", "--save", settings)
    tuned = cli(*asked, "--json").json["tuned"]
    assert tuned["fixed"]["ratio"] < tuned["unfitted"]["ratio"] and "every other text" in tuned["halves"]
    assert tuned["fitted_on_tokens"] + tuned["buckets"]["tokens"] > 500
    assert json.loads(settings.read_text()) == tuned["buckets"]["settings"]
    told = cli("eval", library, "next", "--text", note, "--settings", settings, "--pointers", 1, "--json").json
    assert told["settings"] == {**tuned["buckets"]["settings"], "pointers": 1}
    ran = cli(*asked)
    assert ran.code == 0 and "as given" in ran.out and "one weight" in ran.out and "by distance" in ran.out


def test_what_is_generated_with_the_memory_is_compared_with_what_is_not(cli, library, note):
    told = cli("eval", library, "next", "--text", note, "-k", 8, "--generate", 24, "--json").json
    assert (told["prompts"], told["prompt_tokens"], told["generated_tokens"]) == (1, 32, 24)
    assert list(told["ways"]) == ["without", "with_memory", "text"]
    for way in told["ways"].values():
        assert all(0 < value <= 1 for value in way["distinct"].values())
        assert [(one["from"], one["to"]) for one in way["by_position"]] == [(0, 6), (6, 12), (12, 18), (18, 24)]
    ran = cli("eval", library, "next", "--text", note, "-k", 8, "--generate", 24)
    assert ran.code == 0 and "with memory" in ran.out and "distinct-2" in ran.out and "18-24" in ran.out


def test_another_kind_of_index_takes_no_text_and_this_one_no_questions(cli, library, note, tmp_path):
    queries = write_jsonl(tmp_path / "q.jsonl", [{"id": "a", "question": "b", "gold_ids": ["x"]}])
    for arguments, saying in (
        (("words", "--text", note), "--text is not for it; measure it with --queries FILE"),
        (("words", "--queries", queries, "--tune"), "--tune is not for it"),
        (("words", "--queries", queries, "--pointers", 3), "--pointers is not for it"),
        (("words",), "give --queries FILE"),
        (("next",), "give --text FILE"),
        (("next", "--queries", queries), "--queries is not for it; measure it with --text FILE"),
        (("next", "--text", note, "--run", "a.run"), "--run is not for it"),
    ):
        assert_refused(cli("eval", library, *arguments), saying=saying)


@pytest.mark.parametrize(
    ("content", "arguments", "saying"),
    [
        (None, [], "few.txt: no such file or folder; name a text with --text"),
        ("", [], "few.txt: has no text of 2 tokens or more"),
        ("a", [], "few.txt: has no text of 2 tokens or more"),
        (" \n\n ", [], "few.txt: has no text of 2 tokens or more"),
        (NOTES, ["-k", 0], "k is 0"),
        (NOTES, ["-k", 1000000], "k is 1000000, but"),
        (NOTES, ["--weight", 2], "weight is 2.0"),
        (NOTES, ["--temperature", 0], "temperature is 0.0"),
        (NOTES, ["--settings", "no.json"], "no.json: cannot be read"),
        (NOTES, ["--save", "a.json"], "give --tune too"),
        (NOTES, ["--tune", "--save", "no/a.json"], "cannot be written there"),
        (NOTES, ["--generate", 8, "--tune"], "--generate is a report of its own"),
        (NOTES, ["--generate", 5000], "generate fewer"),
        ("ab", ["--tune"], "too few tokens"),
        ("too short", ["--generate", 8], "few.txt: has no text of 32 tokens"),
    ],
)
def test_bad_texts_and_options_are_one_line(cli, library, tmp_path, monkeypatch, content, arguments, saying):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "few.txt").write_text(content, encoding="utf-8")
    assert_refused(cli("eval", library, "next", "--text", tmp_path / "few.txt", *arguments), saying=saying)


def test_a_bad_row_is_named(cli, library, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "text": "fine"}\n{broken\n')
    assert_refused(
        cli("eval", library, "next", "--text", tmp_path / "rows.jsonl"), saying="rows.jsonl line 2: is not JSON"
    )
