"""HippoRAG 2 again, question by question, with dictionaries and igraph: what the method is held against."""

from __future__ import annotations

from collections import Counter, defaultdict

import igraph
import numpy as np


def stretch(values):
    return (values - values.min()) / (values.max() - values.min())


class Reference:
    """The graph in the form of the official one: parallel edges for the two directions of facts and synonyms."""

    def __init__(self, space):
        self.space = space
        passages = [f"p{number}" for number in range(len(space.stated))]
        entities = space.names(range(len(space.entity_vectors)))
        self.place = {name: place for place, name in enumerate([*entities, *passages])}
        self.mentioned = defaultdict(set)
        weights = Counter()
        for passage, triples in zip(passages, space.stated, strict=True):
            for subject, _, object_ in triples:
                weights[subject, object_] += 1.0
                weights[object_, subject] += 1.0
                self.mentioned[subject].add(passage)
                self.mentioned[object_].add(passage)
        for entity, found in self.mentioned.items():
            for passage in found:
                weights[passage, entity] = 1.0
        cosines = space.entity_vectors @ space.entity_vectors.T
        for one, other in np.argwhere(cosines >= 0.8).tolist():
            if one != other:
                weights[entities[one], entities[other]] = float(cosines[one, other])
        self.graph = igraph.Graph(
            n=len(self.place), edges=[(self.place[one], self.place[other]) for one, other in weights]
        )
        self.weights = list(weights.values())
        self.passages = [self.place[passage] for passage in passages]

    def rank(self, vector):
        """Scores of all passages, shape (passages,)."""
        facts = stretch(self.space.fact_vectors @ vector)
        scores = defaultdict(list)
        for fact in np.argsort(-facts)[:5]:
            subject, _, object_ = self.space.triples[fact]
            for name in (subject, object_):
                scores[name].append(facts[fact] / len(self.mentioned[name]))
        best = sorted(((np.mean(found), name) for name, found in scores.items()), reverse=True)[:5]
        reset = np.zeros(len(self.place))
        for score, name in best:
            reset[self.place[name]] = score
        reset[self.passages] = 0.05 * stretch(self.space.passage_vectors @ vector)
        found = self.graph.personalized_pagerank(
            damping=0.5, directed=False, weights=self.weights, reset=reset.tolist(), implementation="prpack"
        )
        return np.array(found)[self.passages]
