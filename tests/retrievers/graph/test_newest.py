"""A graph that is searched without the facts that others took the place of."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library import write_jsonl

import mnemodex
from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.pruning import NO_EDGES, without_facts
from mnemodex.schemas.errors import QueryError

LETTERS = {
    "paris": ("2020-05-01", "Ada lives in Paris.", [("Ada", "lives in", "Paris")]),
    "rome": ("2023-05-01", "Ada lives in Rome.", [("Ada", "lives in", "Rome")]),
    "work": ("2021-01-01", "Ada works for the ferry company.", [("Ada", "works for", "the ferry company")]),
    "tower": ("2019-01-01", "Paris has an iron tower.", [("Paris", "has", "an iron tower")]),
    "fountain": ("2019-01-01", "Rome has an old fountain.", [("Rome", "has", "an old fountain")]),
    "both": ("2020-05-01", "Ada lives in Paris and speaks French.", [("Ada", "lives in", "Paris")]),
    "other": ("2020-01-01", "Ben keeps bees.", [("Ben", "keeps", "bees")]),
}
QUESTION = "Where does Ada live?"


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newest")
    rows = [{"id": key, "text": text, "time": time} for key, (time, text, _) in LETTERS.items()]
    facts = [{"id": key, "entities": [], "triples": triples} for key, (_, _, triples) in LETTERS.items()]
    facts[-2]["triples"] = [*facts[-2]["triples"], ("Ada", "speaks", "French")]
    recipe = {
        "memory": str(folder / "memory"),
        "source": {"path": str(write_jsonl(folder / "letters.jsonl", rows)), "metadata": {"time": "timestamp"}},
        "triples": {"from": str(write_jsonl(folder / "triples.jsonl", facts))},
        "indexes": {
            "words": {"type": "bm25"},
            "bridge": {"type": "graph", "method": "bridge"},
            "hipporag2": {"type": "graph", "method": "hipporag2"},
            "lite": {"type": "graph", "method": "bridge-lite"},
        },
    }
    mnemodex.build(recipe, local=True)
    return mnemodex.open(recipe["memory"])


def ranked(memory, index, question=QUESTION, **given):
    return [chunk.key for chunk in memory.retriever(index).search([question], 7, **given)[0]]


@pytest.mark.parametrize("index", ["bridge", "hipporag2"])
def test_the_passage_of_the_newer_fact_is_before_that_of_the_older_one(memory, index):
    keys = ranked(memory, index, newest=True)
    assert keys.index("rome") < keys.index("paris")
    assert index != "bridge" or keys[0] == "rome"
    assert set(keys) == set(LETTERS), "nothing is left out of the passages"
    before, after = (
        {chunk.key: chunk.score for chunk in memory.retriever(index).search([QUESTION], 7, newest=newest)[0]}
        for newest in (False, True)
    )
    assert after["paris"] / after["rome"] < before["paris"] / before["rome"]


@pytest.mark.parametrize("index", ["bridge", "hipporag2"])
def test_superseded_facts_are_no_evidence(memory, index):
    def facts(**given):
        hits = memory.retriever(index).search([QUESTION], 7, **given)
        return {reason.text for hit in hits.reasons()[0] for reason in hit if reason.kind == "fact"}

    old, new = "ada · lives in · paris", "ada · lives in · rome"
    assert {old, new} <= facts() and old not in facts(newest=True) and new in facts(newest=True)
    again = facts()
    assert {old, new} <= again, "the index itself is as before"


@pytest.mark.parametrize("index", ["bridge", "hipporag2"])
def test_a_passage_that_no_walk_leads_to_has_its_sentence_as_evidence(memory, index):
    hits = memory.retriever(index).search([QUESTION], 7, newest=True)
    kinds = {hit.key: {reason.kind for reason in own} for hit, own in zip(hits[0], hits.reasons()[0], strict=True)}
    assert kinds["paris"] - {"expanded query"} == {"sentence"} and "entity" in kinds["rome"]


def test_nothing_comes_of_what_a_superseded_passage_names(memory):
    hits = memory.retriever("bridge").search(["What is in the city where Ada lives?"], 7, newest=True)
    rewrites = [reason.text for hit in hits.reasons()[0] for reason in hit if reason.kind == "expanded query"]
    assert any("rome" in text.casefold() for text in rewrites)


def test_filters_groups_and_spans_go_with_it(memory):
    assert ranked(memory, "bridge", newest=True, where="d.key != 'rome'")[0] != "rome"
    bridge = memory.retriever("bridge")
    assert bridge.search([QUESTION], 1, newest=True, expand=1)[0][0].text == "Ada lives in Rome."
    assert bridge.search([QUESTION], 1, newest=True, group_by="time")[0][0].hits[0].key == "rome"


@pytest.mark.parametrize(
    ("index", "message"),
    [("words", "index 'words': knows of no facts"), ("lite", "index 'lite': its graph has no facts")],
)
def test_an_index_without_facts_is_refused(memory, index, message):
    with pytest.raises(QueryError, match=message):
        memory.retriever(index).search([QUESTION], newest=True)


def test_the_command_line_has_it(cli, memory):
    ran = cli("search", memory.snapshot.store.root, "bridge", QUESTION, "-k", "1", "--newest")
    assert "[rome]" in ran.out


@pytest.mark.parametrize("option", [("--newest",), ("--where", "d.key = 'rome'")])
def test_a_picture_of_the_whole_graph_is_not_drawn_of_a_part_of_it(cli, memory, tmp_path, option):
    path = tmp_path / "walk.html"
    ran = cli("search", memory.snapshot.store.root, "bridge", QUESTION, "--picture", path, *option)
    assert ran.code == 2 and ran.err.startswith("error: --picture draws a walk over the whole graph; leave out")
    assert not path.exists()


def test_a_server_has_it(memory):
    from starlette.testclient import TestClient

    from mnemodex.deploy.app import http_app
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings

    service = Service(ServerSettings(memories={"letters": memory.snapshot.store.root}))
    with TestClient(http_app(service.settings, service), base_url="http://localhost") as client:
        connected = mnemodex.connect("http://localhost", client=client)
        for given in ({}, {"newest": True}):
            assert ranked(connected, "bridge", **given) == ranked(memory, "bridge", **given)
        with pytest.raises(QueryError, match="index 'words': knows of no facts"):
            ranked(connected, "words", newest=True)


def test_a_deleted_successor_leaves_the_former_fact_in_force(memory, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(str(memory.snapshot.store.root), folder)
    changed = mnemodex.open(folder)
    changed.delete(["rome"])
    assert [fact.object for fact in changed.history("Ada", newest=True) if fact.predicate == "lives in"] == ["paris"]
    assert ranked(changed, "bridge", newest=True)[0] in {"paris", "both"}


def graph_of(entities, stated, facts):
    """The graph of passages that state some facts, by their numbers in a list of pairs of entities."""
    triples = [facts[fact] for passage in stated for fact in passage]
    mentions = sorted(
        {(end, number) for number, passage in enumerate(stated) for fact in passage for end in facts[fact]}
    )
    columns = [np.array([pair[side] for pair in triples], np.int32) for side in (0, 1)]
    mentioned = [np.array([pair[side] for pair in mentions], np.int32) for side in (0, 1)]
    joined = adjacency(
        entities,
        len(stated),
        facts=Edges(*columns, np.ones(len(triples), np.float32)),
        mentions=Edges(mentioned[0], mentioned[1], np.ones(len(mentions), np.float32)),
        synonyms=NO_EDGES,
    )
    return Graph(
        np.arange(entities),
        np.arange(len(stated)),
        *joined,
        np.array([pair[0] for pair in facts], np.int32),
        np.array([pair[1] for pair in facts], np.int32),
        np.cumsum([0, *map(len, stated)]),
        np.array(list(itertools.chain(*stated)), np.int32),
        np.bincount(mentioned[0], minlength=entities).astype(np.int32),
    )


def matrix(graph, weights):
    """Weights of the pairs of nodes as a dense matrix."""
    dense = np.zeros((graph.nodes, graph.nodes))
    rows = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    np.add.at(dense, (rows, graph.indices), weights)
    return dense


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 4), st.data())
def test_a_graph_without_facts_has_the_weights_of_the_others(entities, data):
    facts = data.draw(st.lists(st.tuples(*[st.integers(0, entities - 1)] * 2), min_size=1, max_size=5, unique=True))
    numbers = st.integers(0, len(facts) - 1)
    stated = data.draw(st.lists(st.lists(numbers, max_size=4), min_size=1, max_size=5))
    left_out = np.array(data.draw(st.lists(st.booleans(), min_size=len(facts), max_size=len(facts))))
    whole = graph_of(entities, stated, facts)
    kept, outdated = without_facts(whole, left_out)
    assert outdated.tolist() == [bool(own) and all(left_out[fact] for fact in own) for own in stated]
    left = [[fact for fact in own if not left_out[fact]] for own in stated]
    expected = graph_of(entities, left, facts)
    assert np.array_equal(matrix(kept, kept.fact), matrix(expected, expected.fact))
    mentions = matrix(whole, whole.mention)
    gone = entities + np.flatnonzero(outdated)
    mentions[gone], mentions[:, gone] = 0, 0
    assert np.array_equal(matrix(kept, kept.mention), mentions)
    assert np.array_equal(kept.entity_passages, mentions[:entities, entities:].sum(axis=1))
    assert kept.passage_facts.tolist() == list(itertools.chain(*left))
    assert kept.passage_offsets.tolist() == expected.passage_offsets.tolist()
