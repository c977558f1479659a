"""The graph's tables: what is in them, what is computed again, and that a grown graph is the graph of one build."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from chat_server import ChatServer, Reply
from engines import InlineEngine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from library import write_jsonl

import mnemodex
from mnemodex.indexers.encoders import open_encoder
from mnemodex.indexers.graph import codes as codes_module
from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.graph.synonyms import SynonymStats
from mnemodex.pipelines.vectors import encode as encode_module
from mnemodex.retrievers.graph.nearest import TextVectors
from mnemodex.schemas.errors import RecipeError

NAMES = (
    "Olme",
    "Harbour of Olme",
    "the Harbour of Olme",
    "Vera Lind",
    "Лена Маяк",
    "港",
    "X",
    "Old Bakery",
    "old bakery",
)
MODEL = {"model": "m", "base_url": "http://localhost/v1"}
PREDICATES = ("lies in", "keeps", "was built by")


def triples_of(number):
    """Some triples of document number so and so; documents share entities and facts, and one has none."""
    random = np.random.default_rng(number)
    found = [
        [NAMES[random.integers(9)], PREDICATES[random.integers(3)], NAMES[random.integers(9)]]
        for _ in range(number % 5)
    ]
    return [triple for triple in found if normalize(triple[0]) != normalize(triple[2])]


def write(folder, numbers):
    """A source of documents, four a file, and their triples."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.jsonl"):
        old.unlink()
    for start in range(0, 40, 4):
        rows = [
            {
                "id": f"d{n}",
                "title": f"Note {n}",
                "text": f"Note number {n}: " + ". ".join(map(" ".join, triples_of(n))),
            }
            for n in range(start, start + 4)
            if n in numbers
        ]
        if rows:
            write_jsonl(folder / f"part-{start:02d}.jsonl", rows)
    triples = [{"id": f"d{n}", "entities": [], "triples": triples_of(n)} for n in sorted(numbers)]
    return write_jsonl(folder.parent / "openie.jsonl", triples)


def recipe(folder, memory="memory", **graph):
    return {
        "source": str(folder / "source"),
        "memory": str(folder / memory),
        "triples": {"from": str(folder / "openie.jsonl")},
        "indexes": {"graph": {"type": "graph", "synonymy": 0.7, **graph}},
    }


@pytest.fixture(scope="module", autouse=True)
def one_encoder():
    """The model is loaded once for all builds of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        loaded = functools.cache(lambda spec: open_encoder(spec, threads=1))
        patch.setattr(encode_module, "open_encoder", lambda spec, **_: loaded(spec))
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    write(folder / "source", range(20))
    mnemodex.build(recipe(folder))
    return folder


@pytest.fixture(scope="module")
def memory(built):
    return mnemodex.open(built / "memory")


def rows(memory, query):
    return memory.sql(query).fetchall()


def test_facts_are_the_different_triples_in_normal_form(memory):
    stated = defaultdict(set)
    for number in range(20):
        for triple in triples_of(number):
            stated[tuple(map(normalize, triple))].add(number)
    found = rows(memory, 'SELECT fact_id, subject, predicate, "object", chunks FROM facts')
    assert {row[1:4]: row[4] for row in found} == {fact: len(chunks) for fact, chunks in stated.items()}
    assert all(row[0] == fact_id(*row[1:4]) for row in found)
    assert [row[0] for row in found] == sorted(row[0] for row in found)


def test_entities_are_the_different_names_with_their_counts(memory):
    chunks, facts, written = defaultdict(set), defaultdict(set), defaultdict(Counter)
    for number in range(20):
        first = {}
        for triple in triples_of(number):
            for name in (triple[0], triple[2]):
                chunks[normalize(name)].add(number)
                facts[normalize(name)].add(tuple(map(normalize, triple)))
                first.setdefault(normalize(name), name)
        for form, name in first.items():
            written[form][name] += 1
    found = rows(memory, "SELECT entity_id, name, normalized, chunks, facts FROM entities")
    assert {row[2]: row[3:] for row in found} == {form: (len(chunks[form]), len(facts[form])) for form in chunks}
    for found_id, name, form, *_ in found:
        assert found_id == entity_id(form)
        assert name == min(written[form], key=lambda one: (-written[form][one], one))


def test_edges_have_one_row_for_each_pair_and_kind(memory):
    joined, mentioned = Counter(), set()
    keys = dict(rows(memory, "SELECT d.key, c.chunk_id FROM chunks c JOIN documents d USING (doc_id)"))
    for number in range(20):
        for triple in triples_of(number):
            ends = [entity_id(normalize(triple[place])) for place in (0, 2)]
            joined[tuple(sorted(ends))] += 1
            mentioned.update((end, keys[f"d{number}"]) for end in ends)
    found = rows(memory, "SELECT source_id, target_id, kind, weight FROM edges")
    assert {row[:2]: row[3] for row in found if row[2] == "fact"} == joined
    assert {row[:2] for row in found if row[2] == "mention"} == mentioned
    assert len({row[:3] for row in found}) == len(found)
    names = dict(rows(memory, "SELECT entity_id, normalized FROM entities"))
    synonyms = {frozenset(names[end] for end in row[:2]) for row in found if row[2] == "synonym"}
    assert frozenset({"harbour of olme", "the harbour of olme"}) in synonyms


def test_the_questions_that_people_ask_of_a_graph_have_answers_in_sql(memory):
    facts = rows(
        memory,
        "SELECT subject, predicate, \"object\" FROM facts WHERE subject = 'vera lind' AND \"object\" = 'old bakery'",
    )
    assert all(fact[0] == "vera lind" for fact in facts)
    connected = rows(
        memory,
        "SELECT name, sum(weight) AS degree FROM entities JOIN (SELECT source_id AS entity_id, weight FROM edges WHERE "
        "kind = 'fact' UNION ALL SELECT target_id, weight FROM edges WHERE kind = 'fact') USING (entity_id) "
        "GROUP BY name ORDER BY degree DESC, name",
    )
    assert len(connected) > 3 and connected[0][1] >= connected[-1][1]
    neighbours = rows(
        memory,
        "SELECT n.name, e.kind FROM entities x JOIN edges e ON x.entity_id IN (e.source_id, e.target_id) JOIN entities "
        "n ON n.entity_id IN (e.source_id, e.target_id) AND n.entity_id <> x.entity_id WHERE x.normalized = 'olme'",
    )
    assert neighbours


def test_methods_over_one_graph_share_its_files(built):
    indexes = {name: {"type": "graph", "synonymy": 0.7, "method": name} for name in ("bridge", "hipporag2")}
    result = mnemodex.build({**recipe(built, "shared"), "indexes": indexes})
    manifest = mnemodex.open(built / "shared").snapshot.manifest
    assert manifest.indexes["bridge"].shards == manifest.indexes["hipporag2"].shards
    assert {step.name: step.computed for step in result.steps}["hipporag2"] == 0


def test_many_facts_and_passages_are_found_by_codes_as_by_all_vectors(built, memory, monkeypatch):
    write(built / "source", range(20))
    mnemodex.build(recipe(built, "codes"))
    for name in ("EXACT_FACTS", "EXACT_PASSAGES"):
        monkeypatch.setattr(codes_module, name, 3)
    # Another release may make codes of what has none.
    result = mnemodex.build(recipe(built, "codes"))
    coded = {f"codes/minilm/{of}{end}" for of in ("facts", "passages") for end in (": train", "")}
    assert result.committed and {step.name for step in result.steps if step.computed} == coded
    questions = ["Who keeps the old bakery?", "Where does Olme lie?"]
    retriever, former = (mnemodex.open(built / name).retriever("graph") for name in ("codes", "memory"))
    assert retriever.space._passage_vectors is not None and former.space._passage_vectors is None
    with_codes, exact = (one.search(questions, k=8) for one in (retriever, former))
    assert with_codes.ids.tolist() == exact.ids.tolist()
    np.testing.assert_allclose(with_codes.scores, exact.scores, rtol=1e-4)


def test_filters_and_long_answers_compare_all_passages(built, monkeypatch):
    for name in ("EXACT_FACTS", "EXACT_PASSAGES"):
        monkeypatch.setattr(codes_module, name, 3)
    write(built / "source", range(20))
    mnemodex.build(recipe(built, "filtered"))
    retriever = mnemodex.open(built / "filtered").retriever("graph")
    compared = []
    monkeypatch.setattr(TextVectors, "cosines", lambda *_, **__: compared.append(1) or pytest.fail("by codes"))
    retriever.search(["Where does Olme lie?"], k=5, where="title <> 'Note 3'")
    retriever.search(["Where does Olme lie?"], k=101)
    assert not compared


def test_an_unchanged_build_computes_nothing(built, memory, monkeypatch):
    monkeypatch.setattr(run_module, "choose_engine", lambda *_, **__: pytest.fail("started"))
    assert not mnemodex.build(recipe(built)).committed


def test_new_documents_cost_their_own_names_only(tmp_path):
    write(tmp_path / "source", range(12))
    mnemodex.build(recipe(tmp_path))
    before = mnemodex.open(tmp_path / "memory").snapshot.manifest.tables
    write(tmp_path / "source", range(16))
    steps = {step.name: step for step in mnemodex.build(recipe(tmp_path)).steps}
    after = mnemodex.open(tmp_path / "memory").snapshot.manifest.tables
    for of, column in (("facts", "embeddings/minilm/facts"), ("entities", "embeddings/minilm/entities")):
        step = steps[column]
        assert step.rows_computed - step.rows_reused == after[of].rows - before[of].rows
    compared = sum(part.stats.of(SynonymStats).compared for part in after["synonyms"].partitions)
    assert compared <= after["entities"].rows - before["entities"].rows


TABLES = {
    "facts": "SELECT * FROM facts ORDER BY ALL",
    "entities": "SELECT * FROM entities ORDER BY ALL",
    "mentions": "SELECT * FROM mentions ORDER BY ALL",
    "edges": "SELECT source_id, target_id, kind FROM edges ORDER BY ALL",
    "weights": "SELECT source_id, target_id, kind, weight FROM edges WHERE kind <> 'synonym' ORDER BY ALL",
}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sets(st.integers(0, 39), min_size=1, max_size=16), min_size=2, max_size=4))
def test_after_any_additions_and_deletions_the_graph_is_that_of_one_build(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("steps")
    for numbers in steps:
        write(folder / "source", numbers)
        mnemodex.build(recipe(folder))
    mnemodex.build(recipe(folder, "fresh"))
    grown, fresh = mnemodex.open(folder / "memory"), mnemodex.open(folder / "fresh")
    for name, query in TABLES.items():
        assert rows(grown, query) == rows(fresh, query), name
    cosines = [
        np.array(rows(opened, "SELECT weight FROM edges WHERE kind = 'synonym' ORDER BY source_id, target_id"))
        for opened in (grown, fresh)
    ]
    np.testing.assert_allclose(cosines[0], cosines[1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triples": None}, "indexes.graph: needs triples: add `triples"),
        (
            {"indexes": {"a": {"type": "graph"}, "b": {"type": "graph", "synonymy": 0.9}}},
            "the indexes a, b differ in `embed` or `synonymy`",
        ),
        ({"indexes": {"a": {"type": "graph", "method": "walk"}}}, "indexes.a.method"),
        ({"indexes": {"a": {"type": "graph", "of": "dense"}}}, "of is for the method bridge-lite"),
        (
            {"indexes": {"a": {"type": "graph", "recognition": MODEL}}},
            "recognition is for the method hipporag2",
        ),
        ({"indexes": {"a": {"type": "graph", "synonymy": 0}}}, "indexes.a.synonymy"),
    ],
)
def test_what_cannot_be_built_is_told_before_any_work(built, change, message):
    with pytest.raises(RecipeError, match=message):
        mnemodex.build({**recipe(built, "refused"), **change})
    assert not (built / "refused").exists()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=401), r"answers 401 .*; put its key into .*OPENAI_API_KEY. Correct that before you search"),
        (
            Reply(status=400, message="no"),
            r"answers 400 \(no\)\. Correct that: a search keeps all facts",
        ),
        (Reply(status=400, message="temperature is not known"), "refuses temperature; it is asked without"),
        (Reply('{"keep": [0]}'), None),
    ],
)
def test_the_server_that_searches_ask_is_tried_by_the_build(tmp_path, reply, said):
    write(tmp_path / "source", {1, 2})
    with ChatServer(lambda request: reply if said is None or "temperature" in request else {"keep": []}) as server:
        given = recipe(tmp_path)
        given["indexes"]["graph"] |= {"method": "hipporag2", "recognition": {"model": "m", "base_url": server.url}}
        result = mnemodex.build(given)
        warnings = [warning for warning in result.warnings if warning.startswith("indexes.graph.recognition: ")]
        assert result.committed and len(warnings) == (said is not None)
        assert said is None or re.search(said, warnings[0])
        asked = len(server.requests)
        assert 1 <= asked <= 4
        # Nor is it asked again before it changes, whatever else does.
        write(tmp_path / "source", {1, 2, 3})
        mnemodex.build(given)
        assert len(server.requests) == asked


def test_a_server_that_is_not_there_is_a_warning_of_the_build(tmp_path):
    write(tmp_path / "source", {1, 2})
    with ChatServer() as server:
        url = server.url
    given = recipe(tmp_path)
    recognition = {"model": "m", "base_url": url}
    given["indexes"]["graph"] |= {"method": "hipporag2", "recognition": recognition}
    assert any("cannot be reached" in warning for warning in mnemodex.build(given).warnings)


def test_documents_without_a_triple_make_a_graph_without_edges(tmp_path):
    write(tmp_path / "source", {0, 5, 10})
    (tmp_path / "openie.jsonl").write_text(json.dumps({"id": "d0", "entities": [], "triples": []}) + "\n")
    mnemodex.build(recipe(tmp_path))
    assert rows(mnemodex.open(tmp_path / "memory"), "SELECT count(*) FROM edges") == [(0,)]
