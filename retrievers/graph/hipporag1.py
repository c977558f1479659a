"""HippoRAG 1: the question's named entities lead a walk over facts and synonyms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.graph.names import normalize
from mnemodex.retrievers.graph.nearest import nearest
from mnemodex.retrievers.graph.ppr import Mass
from mnemodex.retrievers.graph.space import Activation, Scored
from mnemodex.retrievers.graph.walker import Walker, after, min_max, most_probable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.retrievers.graph.space import Space

EntitiesOf = Callable[[Sequence[str]], list[list[str]]]
"""The names of entities in each of some questions."""


class _Linked(NamedTuple):
    entities: NDArray[np.int64]
    """Different nodes."""
    weakest: float
    """The least cosine of a name and the node it was linked to."""


class HippoRAG1:
    """Gutierrez et al., "HippoRAG" (2024), as its official code does it.

    Each name in a question is linked to the one entity that is nearest to it, which becomes a seed, weighted by the
    inverse of the number of passages that mention it. A passage scores as its triples: the probabilities of their
    subjects and objects, summed up. A question without names is answered by the passages' vectors alone.

    Args:
        entities_of: finds the names in questions.
        ensemble: whether the passages' own likeness to the question counts one half where a link is weak.
        confident: the cosine above which every link must lie for the graph to be trusted alone.
        walker: how to walk. The official graph has no passages as nodes, and a synonym's cosine takes the place of the
            facts between its ends.
    """

    def __init__(
        self,
        entities_of: EntitiesOf,
        *,
        ensemble: bool = True,
        confident: float = 0.9,
        walker: Walker | None = None,
    ) -> None:
        self.entities_of = entities_of
        self.ensemble = ensemble
        self.confident = confident
        self.walker = walker or Walker(fact=1, mention=0, synonym=1, overwrite=True)

    def score(self, space: Space, questions: Sequence[str], vectors: NDArray[np.float32]) -> Scored:
        """Rank all passages; see `Method`."""
        graph, dense = space.graph, space.dense(vectors)
        linked = self._link(space, questions)
        asked = [(question, link) for question, link in enumerate(linked) if link is not None]
        scores = np.array(dense, np.float32)
        activations = [Activation(fallback="no entity is found in the question") for _ in questions]
        seeds = [_seeds(graph, link) for _, link in asked]
        for (question, link), probabilities in zip(asked, self.walker.walk(graph, seeds), strict=True):
            by_graph = min_max(_of_passages(graph, probabilities))
            if self.ensemble and link.weakest <= self.confident:
                scores[question] = (by_graph + min_max(dense[question])) / 2
            else:
                scores[question] = after(by_graph, dense[question])
            activations[question] = Activation(entities=most_probable(probabilities, graph.entities))
        return Scored(scores, activations)

    def _link(self, space: Space, questions: Sequence[str]) -> list[_Linked | None]:
        if not space.graph.entities:
            return [None for _ in questions]
        found = [[normal for name in names if (normal := normalize(name))] for names in self.entities_of(questions)]
        names = list(dict.fromkeys(name for row in found for name in row))
        if not names:
            return [None for _ in questions]
        rows, cosines, _ = nearest(space.encode(names), space.entity_vectors, 1)
        links = {name: (int(rows[place, 0]), float(cosines[place, 0])) for place, name in enumerate(names)}
        return [_linked([links[name] for name in row]) if row else None for row in found]


def _linked(links: list[tuple[int, float]]) -> _Linked:
    return _Linked(np.unique([entity for entity, _ in links]), min(cosine for _, cosine in links))


def _seeds(graph: Graph, link: _Linked) -> Mass:
    return Mass(link.entities, 1 / np.maximum(graph.entity_passages[link.entities], 1))


def _of_passages(graph: Graph, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the facts of each passage sum up to, of shape (passages,)."""
    entities = probabilities[: graph.entities].astype(np.float64)
    stated = np.asarray(graph.passage_facts)
    sums = np.zeros(len(stated) + 1)
    np.cumsum(entities[graph.subjects[stated]] + entities[graph.objects[stated]], out=sums[1:])
    return sums[graph.passage_offsets[1:]] - sums[graph.passage_offsets[:-1]]
