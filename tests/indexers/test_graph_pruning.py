"""A graph without some passages: the graph that is built of the others."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.pruning import prune

ENTITIES = 6
entity = st.integers(0, ENTITIES - 1)
passages = st.lists(st.lists(st.tuples(entity, entity), max_size=5), min_size=1, max_size=6)
pairs = st.sets(st.tuples(entity, entity).filter(lambda pair: pair[0] < pair[1]), max_size=8)


def edges(rows):
    left, right, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return Edges(np.array(left, np.int32), np.array(right, np.int32), np.array(weights, np.float32))


def graph_of(numbers, triples, synonyms):
    """The graph of some passages, given by their numbers and by the triples that they state."""
    names = sorted({end for row in triples for triple in row for end in triple})
    place = {name: number for number, name in enumerate(names)}
    facts = sorted({triple for row in triples for triple in row})
    mentions = [{end for triple in row for end in triple} for row in triples]
    ends = [(place[one], place[other], 1.0) for row in triples for one, other in row]
    mentioned = [(place[name], passage, 1.0) for passage, row in enumerate(mentions) for name in row]
    near = [(place[one], place[other], 0.9) for one, other in synonyms if one in place and other in place]
    joined = adjacency(
        len(names), len(triples), facts=edges(ends), mentions=edges(mentioned), synonyms=edges(sorted(near))
    )
    stated = [sorted(map(facts.index, row)) for row in triples]
    return Graph(
        np.array(names, np.int64) + 100,
        np.array(numbers, np.int64) + 1000,
        *joined,
        np.array([place[one] for one, _ in facts], np.int32),
        np.array([place[other] for _, other in facts], np.int32),
        np.cumsum([0, *map(len, stated)]),
        np.array([fact for row in stated for fact in row], np.int32),
        np.array([sum(name in row for row in mentions) for name in names], np.int32),
    )


@given(triples=passages, synonyms=pairs, late=pairs, data=st.data())
@settings(max_examples=200, deadline=None)
def test_it_is_the_graph_of_the_passages_that_are_left(triples, synonyms, late, data):
    left_out = np.array(data.draw(st.lists(st.booleans(), min_size=len(triples), max_size=len(triples))))
    kept = np.flatnonzero(~left_out)
    whole = graph_of(range(len(triples)), triples, synonyms)
    there = {end for passage in kept for triple in triples[passage] for end in triple}
    new = [pair for pair in sorted(late - synonyms) if there.issuperset(pair)]
    numbers = {name - 100: number for number, name in enumerate(whole.entity_ids.tolist())}
    found = prune(whole, left_out, edges([(numbers[one], numbers[other], 0.9) for one, other in new]))
    expected = graph_of(kept, [triples[passage] for passage in kept], {*synonyms, *new})
    for name, values in vars(expected).items():
        actual = getattr(found.graph, name)
        assert actual.dtype == values.dtype and actual.tolist() == values.tolist(), name
    np.testing.assert_array_equal(whole.entity_ids[found.entities], expected.entity_ids)
    np.testing.assert_array_equal(whole.chunk_ids[found.passages], expected.chunk_ids)
    np.testing.assert_array_equal(whole.subjects[found.facts], found.entities[expected.subjects])
