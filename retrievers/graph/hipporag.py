"""HippoRAG's two methods, as its official code does them: a walk from what the question names, or from its facts."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from mnemodex.indexers.graph.names import normalize
from mnemodex.indexers.models.parsing import read_list
from mnemodex.indexers.models.pipeline import load_pipeline
from mnemodex.retrievers.graph.method import Activation, Method, Scored, after, min_max, most_probable
from mnemodex.retrievers.graph.ppr import Mass, Walker
from mnemodex.retrievers.top_k import top_k
from mnemodex.schemas.errors import NoAnswerError
from mnemodex.schemas.sections import SPACY_MODEL

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Float32s, Float64s, Floats, Int64s
    from mnemodex.indexers.graph.graph import Graph
    from mnemodex.indexers.models.chat import Chat, Messages
    from mnemodex.retrievers.graph.space import Space
    from mnemodex.schemas.sections import ChatModel

EntitiesOf = Callable[[Sequence[str]], list[list[str]]]
"""Returns the names of entities in each of some questions."""
Keep = Callable[[str, list[tuple[str, str, str]]], list[int] | None]
"""Recognition memory: returns which of a question's facts, by their positions in the list, help to answer it; None
where it does not know."""

_log = logging.getLogger("mnemodex")

_FACTS, _ENTITIES = 5, 5
"""Facts that HippoRAG 2 links to a question, and ends of these that are seeds."""
_PASSAGE_WEIGHT = 0.05
"""The weight of a passage's likeness as a seed, relative to an entity's weight."""
_MOST = 4
"""Facts that the recognition memory keeps, as in HippoRAG's prompt."""
_SYSTEM = (
    "You decide which facts help to answer a question. You get the question and numbered facts, each as subject, "
    "predicate and object, that a search found for it; many of them only look alike. Keep a fact if it names something "
    "that the question asks about or is a step towards the answer, also if further steps are needed. Keep at most "
    f'{_MOST} of them, and none if none helps. Answer with JSON of this form and nothing else: {{"keep": [NUMBERS]}}'
)
_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"keep": {"type": "array", "items": {"type": "integer"}}},
    "required": ["keep"],
    "additionalProperties": False,
}


class HippoRAG1(Method):
    """Gutierrez et al., "HippoRAG" (2024).

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
        self, entities_of: EntitiesOf, *, ensemble: bool = True, confident: float = 0.9, walker: Walker | None = None
    ) -> None:
        self._entities_of = entities_of
        self._ensemble = ensemble
        self._confident = confident
        self.walker = walker or Walker(mention=0, overwrite=True)

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        graph, dense = space.graph, space.dense(vectors)
        links = self._link(space, questions)
        scores = np.array(dense, np.float32)
        activations = [Activation(fallback="no entity is found in the question") for _ in questions]
        seeds = [Mass(nodes, 1 / np.maximum(graph.entity_passages[nodes], 1)) for nodes, _ in links.values()]
        walks = self.walker.walk(graph, seeds)
        for (question, (nodes, weakest)), probabilities in zip(links.items(), walks, strict=True):
            by_graph = min_max(_of_passages(graph, probabilities))
            if self._ensemble and weakest <= self._confident:
                scores[question] = (by_graph + min_max(dense[question])) / 2
            else:
                scores[question] = after(by_graph, dense[question])
            probable = most_probable(probabilities, graph.entities)
            activations[question] = Activation(entities=probable, linked=nodes.tolist())
        return Scored(scores, activations)

    def _link(self, space: Space, questions: Sequence[str]) -> dict[int, tuple[Int64s, float]]:
        """Return the entities of each question that has some, and the least cosine of a name and its entity."""
        if not space.graph.entities:
            return {}
        names = [[normal for name in row if (normal := normalize(name))] for row in self._entities_of(questions)]
        distinct = list(dict.fromkeys(name for row in names for name in row))
        if not distinct:
            return {}
        entities, cosines, _ = space.nearest_entities(space.encode(distinct), 1)
        links = dict(zip(distinct, zip(entities[:, 0].tolist(), cosines[:, 0].tolist(), strict=True), strict=True))
        return {
            question: (np.unique([links[name][0] for name in row]), min(links[name][1] for name in row))
            for question, row in enumerate(names)
            if row
        }


def _of_passages(graph: Graph, probabilities: Floats) -> Float64s:
    """Return the sums over the facts of each passage, of shape (passages,)."""
    entities = probabilities[: graph.entities].astype(np.float64)
    facts = np.asarray(graph.passage_facts)
    sums = np.zeros(len(facts) + 1)
    np.cumsum(entities[graph.subjects[facts]] + entities[graph.objects[facts]], out=sums[1:])
    return sums[graph.passage_offsets[1:]] - sums[graph.passage_offsets[:-1]]


def question_names(questions: Sequence[str]) -> list[list[str]]:
    """Return the named entities of each question by spaCy, in its order.

    Raises:
        ImportError: the extra `openie` is not installed.
    """
    return [[entity.text for entity in document.ents] for document in _spacy().pipe(questions)]


@functools.cache
def _spacy() -> Any:
    # Names need no syntax.
    return load_pipeline(SPACY_MODEL, exclude=["lemmatizer", "parser", "tagger", "attribute_ruler"])


class HippoRAG2(Method):
    """Gutierrez et al., "From RAG to Memory" (2025).

    A question's nearest facts seed their subjects and objects: each with the facts' scores, stretched from 0 to 1 over
    all facts, by the number of passages that mention it, averaged over its facts. Every passage is a seed too, by its
    own likeness to the question. A question without facts is answered by the passages' vectors alone.

    Args:
        passages: how many passages are seeds, the best; all by default. A walk by `push` wants some hundreds.
        keep: the recognition memory; every fact is kept by default.
        walker: how to walk. The official graph has facts and synonyms twice, once for either direction, mentions once,
            and a synonym's cosine takes the place of the facts between its ends.
    """

    def __init__(self, *, passages: int | None = None, keep: Keep | None = None, walker: Walker | None = None) -> None:
        self._passages = passages
        self._keep = keep
        self.walker = walker or Walker(fact=2, mention=1, synonym=2, overwrite=True)

    @override
    def score(self, space: Space, questions: Sequence[str], vectors: Float32s) -> Scored:
        graph, dense = space.graph, space.dense(vectors)
        linked = self._link(space, questions, vectors)
        rows = [row for row, facts in enumerate(linked) if facts]
        scores = np.array(dense, np.float32)
        activations = [Activation(fallback="no fact is linked to the question") for _ in questions]
        seeds = [self._seeds(graph, linked[row], dense[row]) for row in rows]
        for row, probabilities in zip(rows, self.walker.walk(graph, seeds), strict=True):
            scores[row] = after(probabilities[graph.entities :], dense[row])
            activations[row] = Activation(linked[row], entities=most_probable(probabilities, graph.entities))
        return Scored(scores, activations)

    def _link(self, space: Space, questions: Sequence[str], vectors: Float32s) -> list[list[tuple[int, float]]]:
        """Return the facts of each question with their scores, 0 to 1, best first."""
        if not len(space.graph.subjects):
            return [[] for _ in questions]
        rows, cosines, least = space.nearest_facts(vectors, _FACTS)
        spread = cosines[:, :1] - least[:, None]
        shares = np.where(spread > 0, (cosines - least[:, None]) / np.where(spread > 0, spread, 1), 1)
        linked = [list(zip(*row, strict=True)) for row in zip(rows.tolist(), shares.tolist(), strict=True)]
        if self._keep is None:
            return linked
        chosen, unanswered = [], []
        for question, facts in zip(questions, linked, strict=True):
            positions = self._keep(question, space.facts([fact for fact, _ in facts]))
            if positions is None:
                unanswered.append(question)
            chosen.append(facts if positions is None else [facts[position] for position in positions])
        if unanswered:
            _log.warning(
                "recognition: the server gives no usable answer for %d of %d questions (the first: %r); all of their "
                "facts are kept",
                len(unanswered),
                len(questions),
                unanswered[0][:100],
            )
        return chosen

    def _seeds(self, graph: Graph, facts: list[tuple[int, float]], dense: Float32s) -> Mass:
        numbers, scores = (np.array(column) for column in zip(*facts, strict=True))
        ends = np.concatenate([graph.subjects[numbers], graph.objects[numbers]])
        entities, group, times = np.unique(ends, return_inverse=True, return_counts=True)
        weight = np.bincount(group, np.tile(scores, 2) / np.maximum(graph.entity_passages[ends], 1)) / times
        best = top_k(weight, _ENTITIES, ids=entities)
        likeness = min_max(dense)
        passages = np.arange(graph.passages)
        if self._passages is not None and self._passages < graph.passages:
            passages = top_k(likeness, self._passages)
        return Mass(
            np.concatenate([entities[best], graph.entities + passages]),
            np.concatenate([weight[best], _PASSAGE_WEIGHT * likeness[passages]]),
        )


class Recognition:
    """Asks a model which facts it keeps. May be called from several threads."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @classmethod
    def of(cls, spec: ChatModel, **options: Any) -> Recognition:
        """Return the one of a recipe; the options are further ones of `Chat`, whose errors it raises."""
        from mnemodex.indexers.models.chat import Chat

        return cls(Chat(spec.base_url, spec.model, api_key_env=spec.api_key_env, **options))

    def probe(self) -> list[str]:
        """Ask about one fact, close the connections, and return what the server refuses and is asked without.

        Raises:
            ChatServerError: the server answers no question.
            NoAnswerError: it does not answer this one.
        """
        try:
            self._ask("Who keeps the light?", [("Ann", "keeps", "the light")])
        finally:
            self._chat.close()
        return self._chat.left_out

    def __call__(self, question: str, facts: Sequence[tuple[str, str, str]]) -> list[int] | None:
        """Return the positions of the facts (subject, predicate, object) that the model keeps, ascending, if any.

        None where the server gives no usable answer to this question.

        Raises:
            ChatServerError: the server answers no question.
        """
        if not facts:
            return []
        try:
            return _positions(self._ask(question, facts), len(facts))
        except NoAnswerError:
            return None

    def _ask(self, question: str, facts: Sequence[tuple[str, str, str]]) -> str:
        lines = "\n".join(f"{number}. {json.dumps(fact, ensure_ascii=False)}" for number, fact in enumerate(facts))
        messages: Messages = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"Question: {question}\nFacts:\n{lines}"},
        ]
        return self._chat.ask(messages, schema=_SCHEMA).text


def _positions(text: str, count: int) -> list[int] | None:
    """Return the positions that an answer names; None where it is malformed or names one beyond `count`."""
    try:
        keep = [_number(item) for item in read_list(text, "keep", lambda item: _number(item) is not None)]
    except ValueError:
        return None
    positions = {position for position in keep if position is not None and 0 <= position < count}
    return sorted(positions) if positions.issuperset(keep) else None


def _number(item: Any) -> int | None:
    """Return the number that an item is, which models may put into quotation marks."""
    if isinstance(item, str) and item.strip().isdecimal():
        return int(item)
    return item if type(item) is int else None
