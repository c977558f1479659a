"""A graph without some of its passages, as it would have been built of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.arrays import frozen
from mnemodex.indexers.compiled import kernel
from mnemodex.indexers.graph.adjacency import Adjacency, Edges, adjacency
from mnemodex.indexers.graph.graph import Graph

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Int32s, Int64s


class Pruned(NamedTuple):
    """What is left of a graph, and the numbers that its entities, facts and passages have in the whole one, int64."""

    graph: Graph
    entities: Int64s
    facts: Int64s
    passages: Int64s


NO_EDGES = Edges(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def prune(graph: Graph, left_out: Bools, synonyms: Edges = NO_EDGES) -> Pruned:
    """Return a graph without passages, bool of shape (passages,), and what only they mention or state.

    All that is left is counted as if the others had never been there. Besides the result, which is in memory, it takes
    some 40 bytes a node, and a byte for each triple and mention.

    Args:
        graph: the whole graph.
        left_out: which passages are left out.
        synonyms: of entities that are left, by their numbers in the whole graph: pairs that become synonyms because
            nearer ones are gone.
    """
    stated = np.diff(graph.passage_offsets)
    gone = np.repeat(left_out, stated)
    is_stated = np.zeros(len(graph.subjects), np.bool_)
    is_stated[graph.passage_facts[~gone]] = True
    mentions = slice(int(graph.indptr[graph.entities]), None)
    of_passages = np.repeat(left_out, np.diff(graph.indptr[graph.entities :]))
    fewer = np.bincount(graph.indices[mentions][of_passages], minlength=graph.entities)
    entity_passages = graph.entity_passages - fewer.astype(np.int32)
    entities, facts, passages = (np.flatnonzero(kept) for kept in (entity_passages > 0, is_stated, ~left_out))
    nodes = renumber(np.concatenate([entities, graph.entities + passages]), graph.nodes)
    taken = np.asarray(graph.passage_facts)[gone]
    triples = Edges(graph.subjects[taken], graph.objects[taken], np.full(len(taken), -1, np.float32))
    change = adjacency(graph.entities, graph.passages, facts=triples, mentions=NO_EDGES, synonyms=synonyms)
    whole = Adjacency(graph.indptr, graph.indices, graph.fact, graph.mention, graph.synonym)
    pruned = Graph(
        graph.entity_ids[entities],
        graph.chunk_ids[passages],
        *_combine(whole, change, nodes),
        nodes[graph.subjects[facts]],
        nodes[graph.objects[facts]],
        np.concatenate([np.zeros(1, np.int64), np.cumsum(stated[passages])]),
        renumber(facts, len(graph.subjects))[graph.passage_facts[~gone]],
        entity_passages[entities],
    )
    return Pruned(pruned, entities, facts, passages)


def without_facts(graph: Graph, left_out: Bools) -> tuple[Graph, Bools]:
    """Return a graph without facts, bool of shape (facts,), and which passages state some, and none that is left.

    Nodes and facts keep their numbers. No walk goes from or to those passages, bool of shape (passages,).
    """
    facts = np.asarray(graph.passage_facts)
    gone, stated = left_out[facts], np.diff(graph.passage_offsets)
    left = np.bincount(np.repeat(np.arange(graph.passages), stated)[~gone], minlength=graph.passages)
    outdated = (stated > 0) & (left == 0)
    taken = facts[gone]
    triples = Edges(graph.subjects[taken], graph.objects[taken], np.full(len(taken), -1, np.float32))
    change = adjacency(graph.entities, graph.passages, facts=triples, mentions=NO_EDGES, synonyms=NO_EDGES)
    whole = Adjacency(graph.indptr, graph.indices, graph.fact, graph.mention, graph.synonym)
    joined = _combine(whole, change, np.arange(graph.nodes, dtype=np.int32))
    is_outdated = np.concatenate([np.zeros(graph.entities, np.bool_), outdated])
    of_outdated = np.repeat(is_outdated, np.diff(joined.indptr))
    fewer = np.bincount(joined.indices[of_outdated], minlength=graph.entities)[: graph.entities]
    kept = replace(
        graph,
        indptr=joined.indptr,
        indices=joined.indices,
        fact=joined.fact,
        mention=np.where(of_outdated | is_outdated[joined.indices], np.float32(0), joined.mention),
        synonym=joined.synonym,
        passage_offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(left)]),
        passage_facts=facts[~gone],
        entity_passages=graph.entity_passages - fewer.astype(np.int32),
    )
    return kept, outdated


def renumber(kept: Int64s, count: int) -> Int32s:
    """Return the new number of each of `count` things of which some are kept, given ascending; -1 for the others."""
    numbers = np.full(count, -1, np.int32)
    numbers[kept] = np.arange(len(kept), dtype=np.int32)
    return numbers


def _combine(whole: Adjacency, change: Adjacency, nodes: Int32s) -> Adjacency:
    """Return the sum of two adjacencies of the same nodes without nodes whose new number is -1."""
    most = len(whole.indices) + len(change.indices)
    indptr = np.zeros(int((nodes >= 0).sum()) + 1, np.int64)
    indices, weights = np.empty(most, np.int32), np.empty((3, most), np.float32)
    size = _merge_rows(_frozen(whole), _frozen(change), nodes, indptr, indices, weights)
    fact, mention, synonym = weights[:, :size]
    return Adjacency(indptr, indices[:size], fact, mention, synonym)


def _frozen(joined: Adjacency) -> Adjacency:
    return Adjacency(*(frozen(array) for array in joined))


@kernel
def _merge_rows(
    whole: Adjacency,
    change: Adjacency,
    nodes: Int32s,
    indptr: Int64s,
    indices: Int32s,
    weights: Float32s,
) -> int:
    """Merge the rows of two adjacencies, which are ascending; return the elements that are left."""
    size = 0
    for node in range(len(nodes)):
        place, stop = whole.indptr[node], whole.indptr[node + 1]
        other, end = change.indptr[node], change.indptr[node + 1]
        if nodes[node] < 0:
            continue
        while place < stop or other < end:
            left = whole.indices[place] if place < stop else len(nodes)
            right = change.indices[other] if other < end else len(nodes)
            fact = mention = synonym = np.float32(0)
            if left <= right:
                fact, mention, synonym = whole.fact[place], whole.mention[place], whole.synonym[place]
                place += 1
            if right <= left:
                fact, synonym = fact + change.fact[other], synonym + change.synonym[other]
                other += 1
            number = nodes[min(left, right)]
            if number >= 0 and (fact > 0 or mention > 0 or synonym > 0):
                indices[size] = number
                weights[0, size], weights[1, size], weights[2, size] = fact, mention, synonym
                size += 1
        indptr[nodes[node] + 1] = size
    return size
