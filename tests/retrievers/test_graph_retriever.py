"""The graph retriever over built memories: why a hit came, pictures, filters, and graphs that hold next to nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from chat_server import ChatServer
from engines import InlineEngine
from library import records, write_jsonl, write_parts

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.schemas.errors import QueryError

METHODS = ("bridge", "hipporag2", "hipporag1", "bridge-lite")


def build(folder, rows, triples, method, **index):
    recipe = {
        "source": str(write_parts(folder / "source", rows, 1)),
        "memory": str(folder / "memory"),
        "triples": {"from": str(write_jsonl(folder / "triples.jsonl", triples))},
        "indexes": {
            "dense": {"type": "dense", "factory": "Flat"},
            "graph": {"type": "graph", "method": method, **index},
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        mnemodex.build(recipe)
    return mnemodex.open(folder / "memory")


@pytest.mark.parametrize("method", METHODS)
def test_a_graph_without_an_edge_ranks_as_the_vectors_do(method, tmp_path):
    rows = [{"id": f"d{n}", "title": "", "text": f"it is {n} miles to the next village"} for n in range(8)]
    memory = build(tmp_path, rows, [{"id": "d0", "entities": [], "triples": []}], method)
    questions = ["how far is the next village?", "three miles"]
    graph, dense = memory.retriever("graph").search(questions, 8), memory.retriever("dense").search(questions, 8)
    assert graph.ids.tolist() == dense.ids.tolist()
    for answer in graph.reasons():
        assert [[reason.kind for reason in hit] for hit in answer] == [["sentence", "dense alone"], *[["sentence"]] * 7]


def test_a_hit_tells_its_facts_names_and_expanded_queries(memory):
    retriever = memory.retriever("bridge")
    question = "Who works at the Harbour near the coast?"
    hits = retriever.search([question], 5)
    reasons = hits.reasons()[0]
    assert {reason.kind for hit in reasons for reason in hit} >= {"fact", "entity"}
    facts = {" · ".join(row) for row in memory.sql('SELECT subject, predicate, "object" FROM facts').fetchall()}
    names = {row[0] for row in memory.sql("SELECT name FROM entities").fetchall()}
    for reason in (reason for hit in reasons for reason in hit):
        assert reason.kind not in ("fact", "entity") or reason.text in {"fact": facts, "entity": names}[reason.kind]
    assert all(reason.kind != "expanded query" for hit in reasons[1:] for reason in hit)
    expanded = [reason.text for reason in reasons[0] if reason.kind == "expanded query"]
    assert expanded
    assert list(retriever.subgraph(question).notes) == [f"expanded query: {text}" for text in expanded]


@pytest.mark.parametrize("method", ["bridge", "hipporag2", "lite"])
def test_a_filter_keeps_the_order_of_what_it_keeps(memory, method):
    retriever = memory.retriever(method)
    full, kept = (
        retriever.search(["the keeper of the bees"], 200),
        retriever.search(["the keeper of the bees"], 200, where="d.key LIKE '%-2'"),
    )
    allowed = np.isin(full.ids[0], memory.ids_where("d.key LIKE '%-2'"))
    assert kept.ids[0][: allowed.sum()].tolist() == full.ids[0][allowed].tolist()


@pytest.mark.parametrize("ending", ["svg", "html"])
def test_a_search_draws_the_subgraph_that_answers_the_question(cli, library, tmp_path, ending):
    path = tmp_path / f"walk.{ending}"
    ran = cli("search", library, "bridge", "Who winds the clockwork of the Lamp?", "--picture", path, "--explain")
    assert ran.code == 0 and f"{path} written" in ran.err
    assert path.stat().st_size > 2000
    assert "entity" in ran.out


@pytest.mark.parametrize(
    ("index", "questions", "name", "message"),
    [
        ("flat", ["lamp"], "a.svg", "an index of type graph"),
        ("bridge", ["lamp", "bees"], "a.svg", "give one question"),
        ("bridge", ["lamp"], "a.png", "a picture is written as .svg or .html"),
    ],
)
def test_what_cannot_be_drawn_is_told(cli, library, tmp_path, index, questions, name, message):
    ran = cli("search", library, index, *questions, "--picture", tmp_path / name)
    assert ran.code == 2 and message in ran.err and not list(tmp_path.iterdir())


def test_reasons_are_in_json_too(cli, library):
    ran = cli("search", library, "hipporag2", "Who winds the clockwork of the lamp?", "--explain", "--json", "-k", "3")
    hits = json.loads(ran.out)["hits"][0]
    assert any(reason["kind"] == "fact" for hit in hits for reason in hit["reasons"])


def test_a_subgraph_of_no_text_is_refused(memory):
    with pytest.raises(QueryError, match="not a string"):
        memory.retriever("bridge").subgraph(5)


def test_one_entity_with_very_many_facts_is_no_trouble(tmp_path):
    rows = [{"id": "d0", "title": "Hub", "text": "The hub joins all."}, *records()[:3]]
    triples = [{"id": "d0", "entities": [], "triples": [["Hub", "joins", f"spoke {n}"] for n in range(3000)]}]
    memory = build(tmp_path, rows, triples, "hipporag2", synonymy=None)
    hits = memory.retriever("graph").search(["what joins spoke 17?"], 2)
    assert hits.chunks()[0][0].key == "d0"


def test_the_recipes_model_says_which_facts_serve_a_question(tmp_path):
    rows = records()[:6]
    triples = [{"id": row["id"], "entities": [], "triples": [[row["title"], "tells of", "work"]]} for row in rows]
    with ChatServer(lambda request: {"keep": [1]}) as server:
        recognition = {"model": "m", "base_url": server.url}
        memory = build(tmp_path, rows, triples, "hipporag2", synonymy=None, recognition=recognition)
        # The build asked one question of its own.
        assert len(server.requests) == 1
        retriever = memory.retriever("graph")
        activation = retriever.rank(["who winds the lamp?"]).activations[0]
    assert len(activation.facts) == 1 and len(server.requests) == 2
    assert "who winds the lamp?" in json.dumps(server.requests[1])
