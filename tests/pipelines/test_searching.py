"""`search` on the command line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mnemodex.pipelines.cli import app


@pytest.fixture
def run(library):
    def search(*arguments):
        return CliRunner().invoke(app, ["search", str(library), *arguments])

    return search


def test_phrases_are_listed_in_their_context(run):
    result = run("ngrams", "slice of lemon", "xyzzy", "-k", "2")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0] == "slice of lemon  occurrences: 4  documents: 4"
    assert "xyzzy  occurrences: 0  documents: 0" in lines
    found = [line for line in lines if "»" in line]
    assert len(found) == 2
    assert found[0].split(maxsplit=1)[1].startswith("café serves naïve guests strong coffee and a »slice of lemon«")
    assert sum("[café-" in line for line in lines) == 2


def test_json_holds_the_hits_as_for_other_indexes(run):
    answers = [json.loads(run(index, "slice of lemon", "-k", "2", "--json").stdout) for index in ("ngrams", "words")]
    (phrases,), (words,) = (answer["hits"] for answer in answers)
    assert [set(hit) for hit in phrases] == [set(hit) for hit in words]
    assert [(hit["rank"], hit["score"]) for hit in phrases] == [(1, 1.0), (2, 1.0)]


def test_a_filter_holds_for_phrases_too(run):
    result = run("ngrams", "slice of lemon", "--where", "key = 'café-3'")
    assert sum("»" in line for line in result.stdout.splitlines()) == 1 and "[café-3]" in result.stdout


def test_what_spoke_for_a_hit_is_printed_below_it(run):
    lines = run("keys", "a slice of lemon cake", "-k", "1", "--explain").stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if "[café-" in line)
    voted = [line for line in lines[place + 2 :] if line.strip()]
    assert any("»slice of lemon«  query" in line for line in voted)
    assert not any("»" in line for line in run("keys", "a slice of lemon cake", "-k", "1").stdout.splitlines())


def test_json_holds_what_spoke_for_each_hit_if_asked(run):
    question = ("a slice of lemon cake", "xyzzy", "-k", "3", "--json")
    plain, explained = (json.loads(run("keys", *question, *more).stdout)["hits"] for more in ([], ["--explain"]))
    assert "reasons" not in plain[0][0]
    assert [{**hit, "reasons": None} for hit in plain[0]] == [{**hit, "reasons": None} for hit in explained[0]]
    for hit in explained[0]:
        assert sum(reason["score"] for reason in hit["reasons"]) == pytest.approx(hit["score"], rel=1e-5)
        assert set(hit["reasons"][0]) == {"kind", "text", "score"}


@pytest.mark.parametrize(
    ("index", "kind"),
    [("words", "word"), ("ngrams", "phrase"), ("flat", "sentence"), ("both", "index"), ("next", "next token")],
)
def test_json_holds_the_reasons_of_every_index(run, index, kind):
    question = ("slice of lemon", "-k", "2", "--json")
    plain, explained = (json.loads(run(index, *question, *more).stdout)["hits"][0] for more in ([], ["--explain"]))
    assert all(kind in {reason["kind"] for reason in hit.pop("reasons")} for hit in explained)
    # Each search encodes its question, and torch promises no vector to its last digit.
    scores = [[hit.pop("score") for hit in hits] for hits in (explained, plain)]
    assert explained == plain and len(plain) == 2 and scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_groups_are_printed_with_their_best_hit(run):
    lines = run("words", "lighthouse harbour Маяк", "--group-by", "lang", "-k", "2").stdout.splitlines()
    groups = json.loads(run("words", "lighthouse harbour Маяк", "--group-by", "lang", "-k", "2", "--json").stdout)
    (found,) = groups["groups"]
    assert groups["index"] == "words" and len(found) == 2
    assert [set(group) for group in found] == [{"value", "score", "hits"}] * 2
    for rank, group in enumerate(found, start=1):
        line = next(line for line in lines if line.split()[:1] == [str(rank)])
        assert line.split()[2] == group["value"] and f"{len(group['hits'])} hit" in line
        assert any(f"[{group['hits'][0]['key']}]" in line for line in lines)


def test_spans_are_printed_with_their_places(run):
    (spans,) = json.loads(run("words", "slice of lemon", "--expand", "1", "-k", "2", "--json").stdout)["spans"]
    assert sorted(rank for span in spans for rank in span["ranks"]) == [1, 2]
    printed = run("words", "slice of lemon", "--expand", "1", "-k", "2").stdout
    for piece in (piece for span in spans for piece in span["pieces"]):
        assert f"[{piece['key']}] {piece['start']}-{piece['end']}" in printed
        assert piece["end"] - piece["start"] == len(piece["text"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--group-by", "lang", "--expand", "1"), "hits are grouped or expanded"),
        (("--group-by", "lang", "--explain"), "explain: is for hits alone"),
        (("--group-by", "langs"), "Did you mean 'lang'?"),
        (("--expand", "-1"), "expand is -1"),
    ],
)
def test_what_is_no_arrangement_of_hits_is_refused(cli, library, options, message):
    ran = cli("search", library, "words", "slice of lemon", *options)
    assert ran.code == 2 and message in ran.err
    assert ran.err.startswith("error: ")


def test_nothing_found_is_said(run):
    for options in (("--group-by", "lang"), ("--expand", "1")):
        assert "no hits" in run("words", "xyzzy", *options).stdout
