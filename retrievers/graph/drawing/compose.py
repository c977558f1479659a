"""A subgraph as a picture: the question at the left, entities and facts beside it, passages by rank at the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.graph.drawing.cards import PASSAGE_WIDTH, QUESTION_WIDTH, passage_card, question_card
from mnemodex.retrievers.graph.drawing.layout import place
from mnemodex.retrievers.graph.drawing.legend import legend
from mnemodex.retrievers.graph.drawing.lettering import clean
from mnemodex.retrievers.graph.drawing.lines import fact_line, mention_line, seed_line, synonym_line
from mnemodex.retrievers.graph.drawing.marks import entities, facts
from mnemodex.retrievers.graph.drawing.shapes import Group, Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.graph.drawing.marks import Entity, Fact
    from mnemodex.retrievers.graph.subgraph import Edge, Subgraph

_MARGIN = 26.0
_GAP = 14.0
_SIDE = 40.0
"""Between the middle and the cards."""
_MIDDLE = 820.0
_BREADTH = 1.4
"""The least width of the middle, and how much broader than high it is where it holds much."""
_ROOM = 14.0
"""Around each box in the middle."""
_PULL = {"fact": 1.5, "mention": 0.3, "synonym": 0.8, "seed": 0.2}
"""How strongly each kind of edge draws its ends together."""
_KEEP = 0.45
"""How strongly a fact's label keeps others away, in parts of what an entity does."""
_LINE = {"mention": mention_line, "seed": seed_line, "synonym": synonym_line}
_CROWDED = 3.0
"""Area of the middle, in areas of what lies in it."""


def compose(subgraph: Subgraph) -> Scene:
    """Lay out and draw a subgraph; edges with an end that is not there are left out."""
    return _Composer(subgraph).scene()


class _Composer:
    """The nodes by number, the boxes of the middle (entities, then facts), and where all of them lie."""

    def __init__(self, subgraph: Subgraph) -> None:
        self._question = subgraph.question
        self._nodes = subgraph.nodes
        self._number = {node.id: number for number, node in enumerate(self._nodes)}
        edges = [edge for edge in subgraph.edges if edge.source in self._number and edge.target in self._number]
        self._passages = [node for node in self._nodes if node.kind == "passage"]
        self._rank = {node.id: rank for rank, node in enumerate(self._passages)}
        best = max((node.weight for node in self._passages), default=0.0)
        self._cards = [passage_card(node, rank, best) for rank, node in enumerate(self._passages, start=1)]
        self._asking = question_card(self._question, subgraph.notes)
        self._entities = entities([node for node in self._nodes if node.kind == "entity"])
        self._box = {entity.node.id: number for number, entity in enumerate(self._entities)}
        self._facts = facts([edge for edge in edges if edge.kind == "fact" and self._joins_entities(edge)])
        self._others = [edge for edge in edges if edge.kind != "fact"]
        self._arrange()

    def _joins_entities(self, edge: Edge) -> bool:
        return edge.source in self._box and edge.target in self._box

    def _arrange(self) -> None:
        """Find where everything lies."""
        boxes: list[Entity | Fact] = [*self._entities, *self._facts]
        sizes = np.array([[box.width, box.height] for box in boxes]).reshape(-1, 2) + _ROOM
        column = sum(card.height + _GAP for card in self._cards) - _GAP
        needed = _CROWDED * float(sizes.prod(axis=1).sum())
        middle = max(_MIDDLE, (_BREADTH * needed) ** 0.5)
        height = max(column, self._asking.height, needed / middle, 240.0)
        left = _MARGIN + QUESTION_WIDTH + _SIDE
        self._right = left
        tops = self._stack(height)
        fixed = np.array([[-_SIDE, height / 2], *([middle + _SIDE, top] for top in tops + self._halves())])
        springs, strength = self._springs()
        charge = np.array([1.0] * len(self._entities) + [_KEEP] * len(self._facts))
        centres = place(sizes, charge, fixed, springs, strength, (middle, height))
        if len(centres):
            centres -= (centres - sizes / 2).min(axis=0)
            extent = (centres + sizes / 2).max(axis=0)
            self._right = left + extent[0] + _SIDE
            height = max(column, self._asking.height, 240.0, extent[1])
            centres[:, 1] += (height - extent[1]) / 2
        self._centres = centres + np.array([left, _MARGIN])
        self._height = height
        self._tops = self._stack(height) + _MARGIN
        self._top = _MARGIN + (height - self._asking.height) / 2

    def _halves(self) -> NDArray[np.float64]:
        return np.array([card.height / 2 for card in self._cards])

    def _stack(self, height: float) -> NDArray[np.float64]:
        """The upper edges of the cards, spread over a height."""
        heights = np.array([card.height for card in self._cards])
        slack = max(height - heights.sum(), 0.0) / max(len(heights), 1)
        tops: NDArray[np.float64] = np.cumsum(heights + slack) - heights - slack / 2
        return tops

    def _springs(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of boxes, or of boxes and fixed points (the question, then the passages), with their strengths."""
        boxes = len(self._entities) + len(self._facts)
        points = dict(self._box)
        points |= {node.id: boxes for node in self._nodes if node.kind == "question"}
        points |= {node.id: boxes + 1 + rank for rank, node in enumerate(self._passages)}
        pairs = [(points[edge.source], points[edge.target], _PULL[edge.kind]) for edge in self._others]
        for number, fact in enumerate(self._facts, start=len(self._entities)):
            pairs += [(number, self._box[end], _PULL["fact"]) for end in (fact.edge.source, fact.edge.target)]
        return (
            np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2),
            np.array([pair[2] for pair in pairs], np.float64),
        )

    def scene(self) -> Scene:
        """Lines first, and what they join above them."""
        kinds = {node.kind for node in self._nodes} | {edge.kind for edge in self._others}
        kinds |= {"fact"} if self._facts else set()
        width = self._right + (PASSAGE_WIDTH if self._cards else -_SIDE) + _MARGIN
        shapes, bottom = legend(kinds, _MARGIN, self._height + 2 * _MARGIN, width - 2 * _MARGIN)
        groups = [*self._lines(), *self._fact_groups(), *self._node_groups(), Group(shapes)]
        return Scene(int(np.ceil(width)), int(np.ceil(bottom + _MARGIN / 2)), clean(self._question), groups)

    def _disc(self, id_: str) -> NDArray[np.float64]:
        number = self._box[id_]
        return self._entities[number].disc(self._centres[number])

    def _end(self, id_: str) -> NDArray[np.float64]:
        """Where a line meets a node: an entity's disc, the right side of the question, the left side of a passage."""
        if id_ in self._box:
            return self._disc(id_)
        node = self._nodes[self._number[id_]]
        if node.kind == "question":
            return np.array([_MARGIN + QUESTION_WIDTH, self._top + self._asking.height / 2])
        rank = self._rank[id_]
        return np.array([self._right, self._tops[rank] + self._cards[rank].height / 2])

    def _lines(self) -> list[Group]:
        groups = []
        for kind in ("mention", "seed", "synonym"):
            for edge in self._others:
                if edge.kind == kind:
                    ends = sorted((self._end(edge.source), self._end(edge.target)), key=lambda end: float(end[0]))
                    groups.append(Group([_LINE[kind](*ends)], self._told(edge), ends=self._numbers(edge)))
        return groups

    def _fact_groups(self) -> list[Group]:
        """The lines of all facts, then their labels."""
        lines, labels = [], []
        for fact, middle in zip(self._facts, self._centres[len(self._entities) :], strict=True):
            edge = fact.edge
            radius = self._entities[self._box[edge.target]].radius
            ends, told = self._numbers(edge), self._told(edge)
            line = fact_line(fact, self._disc(edge.source), middle, self._disc(edge.target), radius)
            lines.append(Group(line, told, ends=ends))
            labels.append(Group(fact.shapes(middle), told, ends=ends))
        return [*lines, *labels]

    def _node_groups(self) -> list[Group]:
        groups = [
            Group(entity.shapes(middle), f"{entity.node.label}\n{entity.node.weight:.4g}", self._number[entity.node.id])
            for entity, middle in zip(self._entities, self._centres, strict=False)
        ]
        asking = next((number for number, node in enumerate(self._nodes) if node.kind == "question"), None)
        groups.append(Group(self._asking.shapes(_MARGIN, self._top), self._question, asking))
        for node, card, top in zip(self._passages, self._cards, self._tops.tolist(), strict=True):
            told = "\n".join(part for part in (node.label, node.detail, f"{node.weight:.4g}") if part)
            groups.append(Group(card.shapes(self._right, top), told, self._number[node.id]))
        return groups

    def _numbers(self, edge: Edge) -> tuple[int, ...]:
        return self._number[edge.source], self._number[edge.target]

    def _told(self, edge: Edge) -> str:
        source, target = (self._nodes[number].label for number in self._numbers(edge))
        return f"{source} — {edge.label or edge.kind} — {target}\n{edge.weight:.4g}"
