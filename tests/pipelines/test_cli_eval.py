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
from mnemodex.retrievers.bm25 import BM25Retriever

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
    "all@5": 1.0,
    "all@10": 1.0,
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
    recalls = ["R@1", "R@2", "R@3", "R@5", "R@10"]
    assert list(metrics) == [*recalls, "nDCG@10", "RR@10", "all@3", "all@5", "all@10"] and metrics["R@3"] == 1


def test_a_question_counts_for_all_where_no_gold_is_missing(cli, small, queries):
    """Of q1's gold, d2 is second and d3 third."""
    metrics = cli("eval", small, "words", "--queries", queries, "-k", 2, "--json").json["metrics"]
    assert (metrics["R@2"], metrics["all@2"], metrics["all@5"]) == (0.75, 0.5, 1.0)


def test_beir_queries_with_qrels_and_gz(cli, small, tmp_path):
    lines = "".join(json.dumps({"_id": row["id"], "text": row["question"], "metadata": {}}) + "\n" for row in QUERIES)
    (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    qrels = tmp_path / "test.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq1\td3\t1\nq1\td1\t0\nq2\td3\t1\n")
    result = cli("eval", small, "words", "--queries", tmp_path / "queries.jsonl.gz", "--qrels", qrels, "--json").json
    assert result["metrics"] == pytest.approx(METRICS)


class TestFiltersAndKinds:
    ROWS = (
        {"id": "q1", "question": "lamp", "gold_ids": ["d3"], "where": "d.key = 'd3'", "kind": "narrow"},
        {"id": "q2", "question": "lamp", "gold_ids": ["d3"], "kind": "wide"},
        {"id": "q3", "question": "lamp", "gold_ids": ["d1"], "kind": "wide"},
        {"id": "q4", "question": "ferry", "gold_ids": ["d4"]},
    )

    def test_a_filter_is_of_its_own_question_and_each_kind_has_its_figures(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        result = cli("eval", small, "words", "--queries", queries, "--json").json
        by_kind = {kind: metrics["R@1"] for kind, metrics in result["by_kind"].items()}
        assert (by_kind, result["metrics"]["R@1"]) == ({"narrow": 1, "wide": 0.5}, 0.75)
        assert result["by_kind"]["wide"].keys() == result["metrics"].keys()
        lines = cli("eval", small, "words", "--queries", queries).out.splitlines()
        assert [line.split()[:2] for line in lines if line.startswith(("narrow", "wide"))] == [
            ["narrow", "1.000"],
            ["wide", "0.500"],
        ]

    def test_a_filter_that_is_none_names_its_question(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", [self.ROWS[3], {**self.ROWS[0], "where": "d.nokey = 1"}])
        ran = cli("eval", small, "words", "--queries", queries)
        assert_refused(ran, saying="query 'q1': ")
        assert "nokey" in ran.err


class TestAbstention:
    ROWS = (
        {"id": "q1", "question": "lamp", "gold_ids": ["d1"]},
        {"id": "q2", "question": "straw lamp", "gold_ids": ["d3"]},
        {"id": "q3", "question": "zebra", "gold_ids": []},
        {"id": "q4", "question": "ferry", "answerable": False},
        {"id": "q5", "question": "ferry", "gold_ids": [], "answerable": True},
        {"id": "q6", "question": "ferry", "gold_ids": [], "answers": ["by boat"]},
        {"id": "q7", "question": "ferry"},
    )

    def test_only_questions_that_are_known_to_be_unanswerable_are_measured(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        result = cli("eval", small, "words", "--queries", queries, "--json").json
        found = result["abstention"]
        assert (found["answerable"], found["unanswerable"], result["queries_without_gold"]) == (2, 2, 5)
        assert 0 <= found["low"] <= found["auroc"] <= found["high"] <= 1
        assert found["risk_coverage"][-1] == {
            "threshold": found["risk_coverage"][-1]["threshold"],
            "coverage": 3 / 4,
            "risk": pytest.approx(1 / 3),
        }
        ran = cli("eval", small, "words", "--queries", queries)
        assert "abstention AUROC" in ran.out and "risk-coverage area" in ran.out
        assert "abstention is measured with 2 unanswerable queries as well" in ran.err

    def test_judgements_of_another_file_say_nothing_of_what_they_leave_out(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        (tmp_path / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
        ran = cli("eval", small, "words", "--queries", queries, "--qrels", tmp_path / "test.tsv", "--json")
        assert (ran.json["abstention"]["answerable"], ran.json["abstention"]["unanswerable"]) == (1, 1)

    def test_without_unanswerable_questions_it_is_not_measured_which_is_said(self, cli, small, queries):
        ran = cli("eval", small, "words", "--queries", queries, "--json")
        assert ran.json["abstention"] is None and "abstention is not measured" in ran.err
        assert "abstention" not in cli("eval", small, "words", "--queries", queries).out

    def test_unanswerable_questions_alone_are_refused(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS[2:4])
        assert_refused(cli("eval", small, "words", "--queries", queries), saying="no query has gold documents")

    def test_answerable_is_true_or_false(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", [{**self.ROWS[0], "answerable": "no"}])
        assert_refused(
            cli("eval", small, "words", "--queries", queries), saying="line 1: `answerable` is a str; write true or"
        )


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
        ('{"id": "a", "question": "b", "gold_ids": ["d1"]}\n', ["-k", "0"], "k is 0"),
        ('{"id": "a", "question": "b", "gold_ids": ["d1"]}\n', ["--qrels", "no.tsv"], "no.tsv: cannot be read"),
        ('{"id": "a", "question": "b", "gold_ids": ["d1"]}\n', ["--run", "no/where.run"], "cannot be written there"),
    ],
)
def test_bad_query_files_and_options_are_one_line(cli, small, tmp_path, monkeypatch, content, arguments, saying):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "q.jsonl").write_text(content)
    assert_refused(cli("eval", small, "words", "--queries", tmp_path / "q.jsonl", *arguments), saying=saying)


def test_an_index_that_is_not_there(cli, small, queries):
    assert_refused(cli("eval", small, "dense", "--queries", queries), saying="no index 'dense'; there are: words")


class TestUnknownGold:
    def eval(self, cli, small, tmp_path, gold, *options):
        rows = [{"id": f"q{n}", "question": "lamp", "gold_ids": ids} for n, ids in enumerate(gold)]
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cli("eval", small, "words", "--queries", tmp_path / "q.jsonl", *options)

    def test_all_unknown_is_refused_with_the_nearest_keys(self, cli, small, tmp_path):
        ran = self.eval(cli, small, tmp_path, [["D1.txt"], ["d2.0", "it's"]])
        assert_refused(ran, saying="3 of 3 gold ids are no key of a document: 'D1.txt' (the nearest key is 'd1'), ")
        assert "'d2.0' (the nearest key is 'd2')" in ran.err

    def test_some_unknown_are_counted(self, cli, small, tmp_path):
        gold = [["d1", "d9"], ["d1"], ["e"], ["\x00\ud800"]]
        ran = self.eval(cli, small, tmp_path, gold)
        assert ran.code == 0 and "warning: 3 of 4 gold ids are no key of a document: 'd9' (the nearest" in ran.err
        ran = self.eval(cli, small, tmp_path, gold, "--json")
        assert ran.json["unknown_gold"]["count"] == 3 and list(ran.json["unknown_gold"]["nearest"])[:2] == ["d9", "e"]
        assert self.eval(cli, small, tmp_path, [["d1"]], "--json").json["unknown_gold"]["count"] == 0

    def test_a_number_is_near_the_key_of_its_value(self, cli, inline, tmp_path):
        source = write_jsonl(tmp_path / "n.jsonl", [{"id": n, "text": f"lamp {n}"} for n in (7, 70, 17, 100)])
        mnemodex.build(words_recipe(source, tmp_path / "m"))
        ran = self.eval(cli, tmp_path / "m", tmp_path, [["7.0"], ["100.0"]])
        assert_refused(ran, saying="'7.0' (the nearest key is '7'), '100.0' (the nearest key is '100')")

    def test_judgements_of_queries_that_are_not_asked_are_counted(self, cli, small, queries, tmp_path, caplog):
        qrels = tmp_path / "test.tsv"
        qrels.write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq8\td3\t1\nq9\td3\t1\n")
        assert cli("eval", small, "words", "--queries", queries, "--qrels", qrels).code == 0
        assert "judges 2 queries that" in caplog.text and "['q8', 'q9']" in caplog.text


class TestQuestionsThatAreDocuments:
    ROWS = (
        {"id": "d1", "question": "lamp lamp lamp lamp", "gold_ids": ["d2"]},
        {"id": "d3", "question": "lamp straw straw straw", "gold_ids": ["d2"]},
        {"id": "q", "question": "ferry", "gold_ids": ["d4"]},
    )

    def test_the_document_of_the_querys_id_is_left_out(self, cli, small, tmp_path):
        queries = write_jsonl(tmp_path / "q.jsonl", self.ROWS)
        run, lines = tmp_path / "run", tmp_path / "per.jsonl"
        ran = cli("eval", small, "words", "--queries", queries, "-k", 1, "--exclude-self", "--run", run, "--json")
        assert ran.json["metrics"]["R@1"] == 1 and "2 queries found their own document" in ran.err
        assert [line.split()[2] for line in run.read_text().splitlines()] == ["d2", "d2", "d4"], "k documents remain"
        ran = cli("eval", small, "words", "--queries", queries, "--per-query", lines)
        assert "2 queries rank their own document first; see --exclude-self" in ran.err
        each = [json.loads(line) for line in lines.read_text().splitlines()]
        assert [(one["id"], one["R@1"], one["RR@10"]) for one in each] == [("d1", 0, 0.5), ("d3", 0, 0.5), ("q", 1, 1)]

    def test_a_gold_document_of_the_same_id_is_no_surprise(self, cli, small, tmp_path):
        rows = [{"id": "d4", "question": "ferry", "gold_ids": ["d4"]}]
        ran = cli("eval", small, "words", "--queries", write_jsonl(tmp_path / "q.jsonl", rows))
        assert ran.code == 0 and "--exclude-self" not in ran.err


class TestBeirFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        rows = [{"_id": row["id"], "text": row["question"]} for row in QUERIES]
        write_jsonl(tmp_path / "beir" / "queries.jsonl", rows)
        (tmp_path / "beir" / "qrels").mkdir()
        for split, gold in (("train", "d1"), ("test", "d3")):
            (tmp_path / "beir" / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\nq2\t{gold}\t1\n")
        return tmp_path / "beir"

    def test_its_test_split_is_measured(self, cli, small, folder):
        assert cli("eval", small, "words", "--queries", folder, "--json").json["metrics"]["R@1"] == 1

    def test_another_split_is_named(self, cli, small, folder):
        train = folder / "qrels" / "train.tsv"
        assert cli("eval", small, "words", "--queries", folder, "--qrels", train, "--json").json["metrics"]["R@1"] == 0
        (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
        assert_refused(cli("eval", small, "words", "--queries", folder), saying="several splits (dev.tsv, train.tsv)")

    def test_a_folder_of_something_else(self, cli, small, tmp_path):
        assert_refused(cli("eval", small, "words", "--queries", tmp_path), saying="is no BEIR folder")


class TestCompare:
    def compare(self, cli, library, tmp_path, *options, indexes=("words", "flat")):
        rows = [
            {"id": f"{name}-{n}", "question": question, "gold_ids": [f"{name}-{n}" for n in range(1, 5)]}
            for name, question in (("bakery", "rye bread baked twice"), ("orchard", "apples in straw"))
            for n in range(4)
        ]
        return cli("compare", library, *indexes, "--queries", write_jsonl(tmp_path / "q.jsonl", rows), *options)

    def test_differences_have_intervals_and_p_values(self, cli, library, tmp_path):
        result = self.compare(cli, library, tmp_path, "--json").json
        assert (result["indexes"], result["queries"], result["k"]) == (["words", "flat"], 8, 10)
        for one in result["metrics"].values():
            assert one["difference"] == pytest.approx(one["second"] - one["first"])
            assert one["low"] <= one["difference"] <= one["high"] and 0 < one["p"] <= 1
        assert "flat against words: 8 queries" in self.compare(cli, library, tmp_path).out

    def test_what_concerns_the_judgements_is_said_once(self, cli, small, tmp_path):
        rows = [{"id": f"d{n}", "question": "lamp", "gold_ids": ["d2", "nowhere"]} for n in (1, 1.5)]
        queries = write_jsonl(tmp_path / "q.jsonl", rows)
        ran = cli("compare", small, "words", "words", "--queries", queries, "--exclude-self")
        assert ran.err.count("no key of a document") == 1
        assert ran.err.count("words: 1 queries found their own document") == 2

    def test_an_index_is_equal_to_itself(self, cli, library, tmp_path):
        for one in self.compare(cli, library, tmp_path, "--json", indexes=("words", "words")).json["metrics"].values():
            assert (one["difference"], one["low"], one["high"], one["p"], one["better"]) == (0, 0, 0, 1, 0)

    def test_an_index_of_another_measure_is_refused(self, cli, library, tmp_path):
        assert_refused(self.compare(cli, library, tmp_path, indexes=("words", "next")), saying="measured with a text")

    def test_questions_without_an_answer_are_not_searched(self, cli, small, tmp_path, monkeypatch):
        searched = []
        find = BM25Retriever.find

        def noted(retriever, questions, k, where):
            searched.extend(questions)
            return find(retriever, questions, k, where)

        monkeypatch.setattr(BM25Retriever, "find", noted)
        rows = [{"id": f"q{n}", "question": "lamp", "gold_ids": ["d2"]} for n in range(2)]
        queries = write_jsonl(tmp_path / "q.jsonl", [*rows, {"id": "none", "question": "ferry", "answerable": False}])
        assert cli("compare", small, "words", "words", "--queries", queries).code == 0
        assert set(searched) == {"lamp"}
        cli("eval", small, "words", "--queries", queries)
        assert "ferry" in searched
