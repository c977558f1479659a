"""A graph with texts and vectors, made of random passages that are about entities, in memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.synonyms import Synonyms, pairs, strongest
from mnemodex.retrievers.graph.nearest import TextVectors
from mnemodex.retrievers.graph.space import Passage

DIMENSION = 24


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def nearest(vectors, matrix, k):
    """The k best rows of a matrix for each question."""
    return TextVectors([matrix], np.arange(len(matrix), dtype=np.int32)).nearest(vectors, k)


class RandomSpace:
    """A `Space`: entities are "e0", "e1", ..., facts ("e3", "r7", "e5"); a text's vector is that of the names in it.

    Args:
        passages: how many; each states up to six triples, and one in ten states none.
        entities: how many, a few of which most triples are about; some pairs have nearly the same name, and facts
            that join them.
        seed: of the random numbers.
    """

    def __init__(self, passages=150, entities=300, seed=0):
        self.rng = rng = np.random.default_rng(seed)
        self.known = rng.normal(size=(entities, DIMENSION))
        self.known[::7] = self.known[1::7][: len(self.known[::7])] + 0.3 * rng.normal(size=self.known[::7].shape)
        self.entity_vectors = unit(self.known)
        counts = rng.integers(1, 7, passages) * (np.arange(passages) % 10 > 0)
        drawn = (entities * rng.random((int(counts.sum()), 2)) ** 2).astype(int)
        drawn[::5] = drawn[::5, :1] // 7 * 7 + [0, 1]
        stated = [(f"e{s}", f"r{s % 5}", f"e{o if s != o else (o + 1) % entities}") for s, o in drawn.tolist()]
        self.triples = sorted(set(stated))
        number = {triple: place for place, triple in enumerate(self.triples)}
        offsets = np.concatenate([[0], np.cumsum(counts)])
        self.stated = [stated[start:stop] for start, stop in pairwise(offsets)]
        self.fact_vectors = self.encode([" ".join(triple) for triple in self.triples])
        self.texts = [" ".join(" ".join(triple) for triple in row) for row in self.stated]
        self.passage_vectors = self.encode(self.texts)
        passage_facts = np.array([number[triple] for triple in stated], np.int32)
        self.graph = self._graph(entities, passages, offsets, passage_facts)

    def _graph(self, entities, passages, offsets, passage_facts):
        ends = np.array([(int(s[1:]), int(o[1:])) for s, _, o in self.triples], np.int32).reshape(-1, 2)
        subjects, objects = ends.T
        left, right = subjects[passage_facts], objects[passage_facts]
        once = sorted({(int(e[1:]), p) for p, row in enumerate(self.stated) for s, _, o in row for e in (s, o)})
        mentions = np.array(once, np.int32).reshape(-1, 2)
        blocks = list(pairs(self.entity_vectors, np.arange(entities), np.zeros(0, np.int64)))
        synonyms = Synonyms(*(np.concatenate(part) for part in zip(*blocks, strict=True)))
        keep = strongest(synonyms, entities)
        joined = adjacency(
            entities,
            passages,
            facts=Edges(left, right, np.ones(len(left), np.float32)),
            mentions=Edges(mentions[:, 0], mentions[:, 1], np.ones(len(mentions), np.float32)),
            synonyms=Edges(*(part[keep] for part in synonyms)),
        )
        mentioned = np.bincount(mentions[:, 0], minlength=entities).astype(np.int32)
        return Graph(
            np.arange(entities), np.arange(passages), *joined, subjects, objects, offsets, passage_facts, mentioned
        )

    def questions(self, count):
        """Questions about two or three entities each."""
        drawn = self.rng.integers(0, len(self.known), (count, 3))
        return [" ".join(f"e{entity}" for entity in row[: 2 + row[0] % 2]) for row in drawn.tolist()]

    def encode(self, texts):
        vectors = np.zeros((len(texts), DIMENSION))
        for row, text in enumerate(texts):
            names = [int(word[1:]) for word in text.split() if word[0] == "e"]
            vectors[row] = self.known[names].sum(axis=0) if names else 1
        return unit(vectors)

    def dense(self, vectors):
        return vectors @ self.passage_vectors.T

    def nearest_facts(self, vectors, k):
        return nearest(vectors, self.fact_vectors, k)

    def nearest_entities(self, vectors, k):
        return nearest(vectors, self.entity_vectors, k)

    def names(self, entities):
        return [f"e{entity}" for entity in entities]

    def facts(self, facts):
        return [self.triples[fact] for fact in facts]

    def read(self, passages):
        return [Passage("", self.texts[passage]) for passage in passages]
