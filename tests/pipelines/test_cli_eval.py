"""`mnemodex eval`: figures, JSON, TREC runs, query files and judgements."""

from __future__ import annotations

import gzip
import json
from math import log2

import pytest
from commands import assert_refused
from engines import InlineEngine
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module

DOCUMENTS = (
    {"id": "d1", "text": "lamp lamp lamp lamp"},
    {"id": "d2", "text": "lamp lamp straw straw"},
    {"id": "d3", "text": "lamp straw straw straw"},
    {"id": "d4", "text": "ferry ferry ferry ferry"},
)
"""For `lamp` BM25 gives d1, d2, d3; for `straw` d3, d2: the texts have one length, and the word one to four times."""

QUERIES = (
    {"id": "q1", "question": "lamp", "answers": ["x"], "gold_ids": ["d2", "d3"]},
    {"id": "q2", "question": "straw", "gold_ids": ["d3"]},
    {"id": "q3", "question": "ferry"},
)

METRICS = {
    "R@1": (0 + 1) / 2,
    "R@2": (0.5 + 1) / 2,
    "R@5": 1.0,
    "R@10": 1.0,
    "nDCG@10": ((1 / log2(3) + 1 / log2(4)) / (1 + 1 / log2(3)) + 1) / 2,
    "RR@10": (0.5 + 1) / 2,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    source = write_jsonl(folder / "notes.jsonl", DOCUMENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        mnemodex.build(words_recipe(source, folder / "memory"))
    return folder / "memory"


@pytest.fixture
def queries(tmp_path):
    return write_jsonl(tmp_path / "q.jsonl", QUERIES)


def test_the_figures_are_those_of_a_worked_example(cli, small, queries):
    result = cli("eval", small, "words", "--queries", queries, "--json").json
    assert {"index", "queries", "k", "metrics", "seconds", "queries_per_second"} <= set(result)
    assert (result["index"], result["queries"], result["queries_without_gold"], result["k"]) == ("words", 2, 1, 10)
    assert result["metrics"] == pytest.approx(METRICS)
    assert result["seconds"] > 0 and result["queries_per_second"] == pytest.approx(2 / result["seconds"])


def test_people_get_a_table_and_are_told_of_queries_without_gold(cli, small, queries):
    ran = cli("eval", small, "words", "--queries", queries)
    assert ran.code == 0 and "words: 2 queries, k = 10" in ran.out and "nDCG@10" in ran.out
    assert "1 queries without gold are left out" in ran.err


def test_questions_without_a_known_word_have_no_lines_in_a_run_and_score_nothing(cli, small, tmp_path):
    asked = [{"id": "q1", "question": "the of", "gold_ids": ["d1"]}, {"id": "q2", "question": "z", "gold_ids": ["d1"]}]
    queries, run = write_jsonl(tmp_path / "q.jsonl", asked), tmp_path / "words.run"
    result = cli("eval", small, "words", "--queries", queries, "--run", run, "--json").json
    assert set(result["metrics"].values()) == {0.0} and run.read_text() == ""


def test_a_run_file_is_a_trec_run(cli, small, queries, tmp_path):
    run = tmp_path / "words.run"
    cli("eval", small, "words", "--queries", queries, "--run", run, "-k", 2, "--json").json  # noqa: B018 - it checks
    lines = [line.split() for line in run.read_text().splitlines()]
    assert [(line[0], line[1], line[2], line[3], line[5]) for line in lines] == [
        ("q1", "Q0", "d1", "1", "words"),
        ("q1", "Q0", "d2", "2", "words"),
        ("q2", "Q0", "d3", "1", "words"),
        ("q2", "Q0", "d2", "2", "words"),
    ]
    assert all(float(line[4]) > 0 for line in lines)
    from ir_measures import RR, Qrel, R, calc_aggregate, read_trec_run

    qrels = [Qrel("q1", "d2", 1), Qrel("q1", "d3", 1), Qrel("q2", "d3", 1)]
    read = calc_aggregate([R @ 2, RR @ 10], qrels, list(read_trec_run(str(run))))
    assert read == {R @ 2: METRICS["R@2"], RR @ 10: METRICS["RR@10"]}


def test_k_adds_its_own_recall(cli, small, queries):
    metrics = cli("eval", small, "words", "--queries", queries, "-k", 3, "--json").json["metrics"]
    assert list(metrics) == ["R@1", "R@2", "R@3", "R@5", "R@10", "nDCG@10", "RR@10"] and metrics["R@3"] == 1


def test_beir_queries_with_qrels_and_gz(cli, small, tmp_path):
    lines = "".join(json.dumps({"_id": row["id"], "text": row["question"], "metadata": {}}) + "\n" for row in QUERIES)
    (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    qrels = tmp_path / "test.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq1\td3\t1\nq1\td1\t0\nq2\td3\t1\n")
    result = cli("eval", small, "words", "--queries", tmp_path / "queries.jsonl.gz", "--qrels", qrels, "--json").json
    assert result["metrics"] == pytest.approx(METRICS)


def test_every_index_of_the_library_can_be_measured(cli, library, tmp_path):
    queries = write_jsonl(
        tmp_path / "q.jsonl",
        [{"id": "a", "question": "rye bread baked twice", "gold_ids": [f"bakery-{n}" for n in range(1, 5)]}],
    )
    for name in ("flat", "hnsw", "words", "both"):
        result = cli("eval", library, name, "--queries", queries, "--json").json
        assert result["metrics"]["R@5"] == 1, "chunks of one document count once"


@pytest.mark.parametrize(
    ("content", "arguments", "saying"),
    [
        (None, [], "q.jsonl: cannot be read"),
        ("", [], "q.jsonl: has no queries"),
        ("broken\n", [], "q.jsonl line 1: is not a JSON object"),
        ('{"id": "a", "question": "b"}\n', [], "no query has gold documents"),
        ('{"id": "a", "question": "b", "gold_ids": ["x"]}\n', ["-k", "0"], "k is 0"),
        ('{"id": "a", "question": "b", "gold_ids": ["x"]}\n', ["--qrels", "no.tsv"], "no.tsv: cannot be read"),
        ('{"id": "a", "question": "b", "gold_ids": ["x"]}\n', ["--run", "no/where.run"], "cannot be written there"),
    ],
)
def test_bad_query_files_and_options_are_one_line(cli, small, tmp_path, monkeypatch, content, arguments, saying):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "q.jsonl").write_text(content)
    assert_refused(cli("eval", small, "words", "--queries", tmp_path / "q.jsonl", *arguments), saying=saying)


def test_an_index_that_is_not_there(cli, small, queries):
    assert_refused(cli("eval", small, "dense", "--queries", queries), saying="no index 'dense'; there are: words")
