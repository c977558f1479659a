"""A graph with texts and vectors, written out by hand: a text's vector counts its words that say something."""

from __future__ import annotations

import numpy as np
from graph_space import nearest

from mnemodex.indexers.graph.adjacency import Edges, adjacency
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.words import WordCounts, split
from mnemodex.retrievers.graph.space import Passage

SILENT = frozenset({"a", "and", "by", "far", "in", "is", "it", "of", "the", "up", "was", "where", "who"})


class HandSpace:
    """A `Space`.

    Args:
        passages: title and text of each.
        facts: for each passage that states some, these.
        mentions: for each passage that mentions names besides those of its facts, these.
    """

    def __init__(self, passages, facts=None, mentions=None):
        self.passages = [Passage(*passage) for passage in passages]
        texts = [f"{title}\n{text}" for title, text in passages]
        stated = facts or {}
        self.triples = list(dict.fromkeys(fact for row in stated.values() for fact in row))
        named = {p: {end for s, _, o in row for end in (s, o)} for p, row in stated.items()}
        for passage, names in (mentions or {}).items():
            named.setdefault(passage, set()).update(names)
        self.entities = sorted(set().union(*named.values()))
        self.vocabulary = sorted({word.form for text in [*texts, *map(" ".join, self.triples)] for word in split(text)})
        self.words = WordCounts.of(texts)
        self.fact_vectors = self.encode([" ".join(fact) for fact in self.triples])
        self.entity_vectors = self.encode(self.entities)
        self.passage_vectors = self.encode(texts)
        self.graph = self._graph(stated, named)
        self.bm25 = None

    def _graph(self, stated, named):
        numbers = {name: place for place, name in enumerate(self.entities)}
        rows = [[self.triples.index(fact) for fact in stated.get(p, [])] for p in range(len(self.passages))]
        flat = np.array([fact for row in rows for fact in row], np.int32)
        ends = np.array([(numbers[s], numbers[o]) for s, _, o in self.triples], np.int32).reshape(-1, 2)
        pairs = np.array([(numbers[n], p) for p, names in sorted(named.items()) for n in sorted(names)], np.int32)
        left, right = pairs.reshape(-1, 2).T
        nothing = np.zeros(0, np.int32)
        joined = (
            adjacency(
                len(self.entities),
                len(self.passages),
                facts=Edges(ends[flat, 0], ends[flat, 1], np.ones(len(flat), np.float32)),
                mentions=Edges(left, right, np.ones(len(left), np.float32)),
                synonyms=Edges(nothing, nothing, np.zeros(0, np.float32)),
            )
            if self.entities
            else (np.zeros(len(self.passages) + 1, np.int64), nothing, *np.zeros((3, 0), np.float32))
        )
        return Graph(
            np.arange(len(self.entities)),
            np.arange(len(self.passages)),
            *joined,
            ends[:, 0],
            ends[:, 1],
            np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
            flat,
            np.bincount(left, minlength=len(self.entities)).astype(np.int32),
        )

    def encode(self, texts):
        vectors = np.zeros((len(texts), len(self.vocabulary) + 1), np.float32)
        for row, text in enumerate(texts):
            for word in split(text):
                if word.form in SILENT:
                    continue
                known = word.form in self.vocabulary
                vectors[row, self.vocabulary.index(word.form) if known else -1] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def dense(self, vectors):
        # What no passage holds must not make texts alike.
        return vectors[:, :-1] @ self.passage_vectors[:, :-1].T

    def nearest_facts(self, vectors, k):
        return nearest(vectors, self.fact_vectors, k)

    def nearest_entities(self, vectors, k):
        return nearest(vectors, self.entity_vectors, k)

    def names(self, entities):
        return [self.entities[entity] for entity in entities]

    def facts(self, facts):
        return [self.triples[fact] for fact in facts]

    def read(self, passages):
        return [self.passages[passage] for passage in passages]
