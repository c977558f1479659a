"""The stage of training pairs, without Ray: against a plain sampler, and whatever the batches are."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from library import write_jsonl
from tokenizer_models import byte_level, minilm, save
from workshop import run_stage

from mnemodex.indexers.candidates import Candidates, TokenWords, uniform
from mnemodex.indexers.models.tokenizers import tokenize, tokenizer_hash
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.stages.pairs import PairSettings, PairStage, pair_ids
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.tables import TableKey, spec_of

LONG = (
    "The harbour master keeps two logs. The keeper of the lighthouse climbs two hundred steps every evening to wind "
    "the clockwork of the lamp. Apples are stored in straw, because straw keeps the frost away from fruit in winter."
)
DOCUMENTS = [
    (11, "log", "Two logs", LONG),
    (12, "short", "Short", "Moss grows."),
    (13, "bare", "", "Rye bread is baked twice, once in the morning and once after the bells ring at noon."),
    (14, "title", "Nothing but a heading", " \n"),
    (15, "odd", "☃", "☃ ☃ ☃"),
    (16, "unasked", "Unasked", "Nobody asks for this text, however long it may become in the course of time."),
    (17, "again", "Again", "ship " * 30),
]
QUESTIONS = [
    {"id": "a", "question": "Who winds the clockwork of the lamp?", "gold_ids": ["log", "nowhere"]},
    {"id": "b", "question": "What is stored in straw?", "gold_ids": ["log", "short", "title", "odd"]},
    {"id": "c", "question": "How often is rye bread baked?", "gold_ids": ["bare"]},
    {"id": "d", "question": "???", "gold_ids": ["again"]},
    {"id": "e", "question": "Whom does nobody ask?"},
]


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    return str(write_jsonl(tmp_path_factory.mktemp("pairs") / "train.jsonl", QUESTIONS))


def pairs(documents, *, sizes=None, salt="", **spec):
    """Run the stage over documents in batches of these sizes; the table and the stats."""
    stage = PairStage(PairSettings(pairs=spec, id_salt=salt))
    bounds = np.cumsum([0, *(sizes or [len(documents)])])
    types = (pa.int64(), pa.string(), pa.string(), pa.string())
    columns = [pa.array(column, kind) for column, kind in zip(zip(*documents, strict=True), types, strict=True)]
    whole = pa.record_batch(columns, names=["doc_id", "key", "title", "text"])
    batches = [whole.slice(start, end - start) for start, end in pairwise(bounds.tolist())]
    return run_stage(stage, batches), stage.stats()


def of(table, **where):
    return [row for row in table.to_pylist() if all(row[name] == value for name, value in where.items())]


@pytest.mark.parametrize("name", ["minilm", "byte level"])
def test_every_pair_is_the_text_and_the_tokens_of_its_place(queries, tmp_path, name):
    model = {"minilm": minilm, "byte level": byte_level}[name]()
    table, _ = pairs(DOCUMENTS, queries=queries, unsupervised=3, tokenizer=save(model, tmp_path / "model"))
    assert table.schema == spec_of(TableKey("ngram_pairs", "train")).schema and table.num_rows > 30
    by_id = {doc_id: {"title": title, "body": text} for doc_id, _, title, text in DOCUMENTS}
    for row in table.to_pylist():
        text = by_id[row["doc_id"]][row["field"]]
        (tokens,) = tokenize(model, [text])
        stop = row["start"] + len(row["tokens"])
        assert row["tokens"] == tokens.ids[row["start"] : stop].tolist()
        assert row["target"] == text[tokens.offsets[row["start"], 0] : tokens.offsets[stop - 1, 1]]
        assert len(row["tokens"]) == (len(tokens.ids) if row["field"] == "title" else min(10, len(tokens.ids)))


def test_the_ngrams_of_a_question_are_those_that_a_plain_sampler_draws(queries):
    table, _ = pairs(DOCUMENTS, queries=queries, length=4, per_query=5, seed=3)
    words = TokenWords(minilm())
    for query in QUESTIONS[:2]:
        text, question = tokenize(minilm(), [LONG, query["question"]])
        found = Candidates.of(LONG, text, words, length=4)
        draw = hash_text("supervised", query["id"], salt="3")
        # Of independent exponential waiting times with the weights as their rates, the shortest are such a sample.
        waits = {
            start: -math.log(number) / math.exp(overlap / 0.1)
            for start, number, overlap in zip(
                found.starts.tolist(), uniform(11, draw, found.starts), found.overlap(question.ids), strict=True
            )
        }
        drawn = [row["start"] for row in of(table, doc_id=11, query_id=query["id"], field="body")]
        assert drawn == sorted(sorted(waits, key=waits.get)[:5])


def test_ngrams_are_drawn_as_often_as_their_overlap_says(tmp_path):
    text, question = "A keeper climbs the old stone tower of Olme", "Which keeper climbs a tower?"
    documents = [(number, f"k{number}", "", text) for number in range(1500)]
    query = {"id": "q", "question": question, "gold_ids": [key for _, key, _, _ in documents]}
    path = write_jsonl(tmp_path / "q.jsonl", [query])
    table, _ = pairs(documents, queries=str(path), length=5, per_query=1)
    asked, tokens = tokenize(minilm(), [question, text])
    found = Candidates.of(text, tokens, TokenWords(minilm()), length=5)
    weights = np.exp(found.overlap(asked.ids) / 0.1)
    counts = Counter(table["start"].to_pylist())
    for start, share in zip(found.starts.tolist(), weights / weights.sum(), strict=True):
        assert counts[start] / 1500 == pytest.approx(share, abs=0.04)


def test_most_ngrams_have_words_of_the_question_though_few_of_the_text_do(queries):
    long = f"{'Fog lay on the coast and no ferry left, so nobody saw the island that week. ' * 4}{LONG}"
    table, _ = pairs([(11, "log", "", long)], queries=queries, length=6, per_query=5)
    rows = [row["target"] for row in of(table, query_id="a")]
    assert sum("clockwork" in row or "lamp" in row or "wind" in row for row in rows) >= 4


def test_ngrams_of_one_question_are_different_and_in_the_order_of_the_text(queries):
    table, _ = pairs(DOCUMENTS, queries=queries, per_query=100)
    for doc_id, query_id in {(row["doc_id"], row["query_id"]) for row in table.to_pylist()}:
        rows = of(table, doc_id=doc_id, query_id=query_id, field="body")
        assert [row["start"] for row in rows] == sorted({row["start"] for row in rows})
        assert len({tuple(row["tokens"]) for row in rows}) == len(rows)
    assert len(of(table, doc_id=17, field="body")) == 1, "thirty ships have one n-gram"


def test_what_gives_nothing_is_left_out_and_counted(queries):
    table, stats = pairs(DOCUMENTS, queries=queries)
    made = {(row["doc_id"], row["query_id"], row["field"]) for row in table.to_pylist()}
    assert made == {
        (11, "a", "body"), (11, "a", "title"), (11, "b", "body"), (11, "b", "title"), (12, "b", "body"),
        (12, "b", "title"), (13, "c", "body"), (14, "b", "title"), (17, "d", "body"), (17, "d", "title"),
    }  # fmt: skip
    assert of(table, doc_id=12, field="body")[0]["target"] == "Moss grows."
    counts = ("supervised", "unsupervised", "documents", "gold", "blank", "unknown", "untitled", "short")
    assert [getattr(stats, name) for name in counts] == [table.num_rows, 0, 6, 6, 1, 1, 2, 0]
    assert stats.tokenizer_sha256 == tokenizer_hash(DEFAULT_MODEL)


def test_spans_of_a_document_ask_for_ngrams_apart_from_them(queries):
    table, stats = pairs(DOCUMENTS, unsupervised=4, length=5)
    assert stats.gold == 0 and set(table["kind"].to_pylist()) == {"unsupervised"}
    assert set(table["query_id"].to_pylist()) == {""}
    texts = {doc_id: text for doc_id, _, _, text in DOCUMENTS}
    (whole,) = tokenize(minilm(), [LONG])
    for row in table.to_pylist():
        assert row["query"] in texts[row["doc_id"]] and row["query"] == row["query"].strip() != ""
    for query in {row["query"] for row in of(table, doc_id=11)}:
        rows = of(table, doc_id=11, query=query)
        assert [row["field"] for row in rows] == ["body", "title"]
        asked = int(np.flatnonzero(whole.offsets[:, 0] == LONG.index(query))[0])
        assert abs(rows[0]["start"] - asked) >= 5
    assert len({row["query"] for row in of(table, doc_id=11)}) == 4
    assert [row["field"] for row in of(table, doc_id=12)] == ["title"], "two n-grams of a short text are not apart"
    assert of(table, doc_id=14) == of(table, doc_id=15) == []
    assert (stats.short, stats.documents) == (2, 7)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 0, 4], [6, 1]])
def test_batches_make_no_difference(queries, sizes):
    spec = {"queries": queries, "unsupervised": 2}
    one, stats = pairs(DOCUMENTS, **spec)
    many, other = pairs(DOCUMENTS, sizes=sizes, **spec)
    assert one.equals(many) and stats == other


def test_partitions_and_their_order_make_no_difference(queries):
    spec = {"queries": queries, "unsupervised": 2}
    whole, _ = pairs(DOCUMENTS, **spec)
    parts = [pairs([document], **spec)[0] for document in reversed(DOCUMENTS)]
    assert pa.concat_tables(reversed(parts)).combine_chunks().equals(whole.combine_chunks())


def test_other_questions_change_nothing_of_one_and_another_seed_does(queries, tmp_path):
    alone = str(write_jsonl(tmp_path / "alone.jsonl", QUESTIONS[1:2]))
    (one, _), (other, _), (seeded, _) = (
        pairs(DOCUMENTS, queries=queries, per_query=4, seed=0),
        pairs(DOCUMENTS, queries=alone, per_query=4),
        pairs(DOCUMENTS, queries=queries, per_query=4, seed=1),
    )
    assert of(one, query_id="b") == other.to_pylist()
    starts = [[row["start"] for row in of(table, doc_id=11, field="body")] for table in (one, seeded)]
    assert starts[0] != starts[1]


def test_ids_are_hashes_of_the_row_unique_and_change_with_the_salt(queries):
    spec = {"queries": queries, "unsupervised": 5, "length": 3}
    table, _ = pairs(DOCUMENTS, **spec)
    salted, _ = pairs(DOCUMENTS, salt="x", **spec)
    ids = table["pair_id"].to_pylist()
    assert len(set(ids)) == len(ids) and ids == pair_ids(table, salt="").tolist()
    assert not set(ids) & set(salted["pair_id"].to_pylist())
    assert table.drop_columns("pair_id").equals(salted.drop_columns("pair_id"))


def test_stats_are_those_of_the_last_partition(queries):
    stage = PairStage(PairSettings(pairs={"queries": queries}, id_salt=""))
    stage.setup(Work(1, None))
    for number in (0, 5):
        columns = [[value] for value in DOCUMENTS[number]]
        list(stage.run(iter([pa.record_batch(columns, names=["doc_id", "key", "title", "text"])])))
        assert stage.stats().gold == (number == 0)


def test_no_documents_give_no_pairs(queries):
    stage = PairStage(PairSettings(pairs={"queries": queries}, id_salt=""))
    assert len(run_stage(stage, [])) == stage.stats().supervised == 0
