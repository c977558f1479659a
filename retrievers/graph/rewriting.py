"""Questions rewritten through what bridges them to an answer: a name leaves, the bridge takes its place."""

from __future__ import annotations

import re
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.graph.names import names_in, plain_title, sentences
from mnemodex.indexers.graph.words import forms, split
from mnemodex.retrievers.graph.space import min_max
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.graph.words import Word, WordCounts
    from mnemodex.retrievers.graph.space import Space

MOST = 5
"""Rewrites of one question."""
WEIGHT = 0.95
"""The weight of a passage's cosine to a rewrite, relative to its cosine to the question."""
MENTIONED, ABSENT = 0.8, 0.5
"""Coverage from which a name counts as being in a question, and below which it counts as absent."""
_PASSAGES, _READ = 5, 4096
"""Passages whose sentences are taken for facts, and characters of each: its vector does not cover the rest either."""
_CELLS = 1 << 24
"""Cosines of rewrites that are in memory at a time."""
_MENTION, _OVERLAP = 0.2, 0.5
"""Scores of a sentence that holds a mention, and of one that holds all of the question."""


class Mentions:
    """The names that a question mentions, among all that may be looked for: their words are weighed at once."""

    def __init__(self, question: str, counts: WordCounts, names: Iterable[str]) -> None:
        self._question = question
        self._words = split(question)
        self._own = {word.form for word in self._words}
        self._forms = {name: forms(name) for name in names}
        self._weight = counts.weight(self._own.union(*self._forms.values()))

    def coverage(self, name: str) -> float:
        """Return the part of a name that is in the question, its words weighted by inverse document frequency."""
        return self._share(self._forms[name], self._own)

    def overlap(self, text_forms: set[str]) -> float:
        """Return the part of the question, by the same weights, that is in a text, given by its words' normal forms."""
        return self._share(self._own, text_forms)

    def weight(self, name: str) -> float:
        """Return the sum of the weights of a name's words."""
        return sum(self._weight[form] for form in self._forms[name])

    def _share(self, words: set[str], text: set[str]) -> float:
        total = sum(self._weight[form] for form in words)
        return sum(self._weight[form] for form in words & text) / total if total else 0.0

    def without(self, name: str) -> str:
        """Return the question without a name.

        Pieces that weigh no more than half of the heaviest piece of the name stay: the "of" of a name is in many a
        question a second time.
        """
        texts, end = [], 0
        for start, stop in sorted(self._pieces(self._forms[name])):
            texts.append(self._question[end:start])
            end = max(end, stop)
        text = " ".join([*texts, self._question[end:]])
        return " ".join(_REMAINS.sub(" ", text).split())

    def _pieces(self, name: set[str]) -> list[tuple[int, int]]:
        """Return start and end of the runs of the name's words in the question."""
        runs = groupby(self._words, lambda word: word.form in name)
        pieces = [_unrepeated(list(run)) for is_name, run in runs if is_name]
        weights = [sum(self._weight[word.form] for word in piece) for piece in pieces]
        heaviest = max(weights, default=0.0)
        return [
            (piece[0].start, max(word.end for word in piece))
            for piece, weight in zip(pieces, weights, strict=True)
            if weight > heaviest / 2
        ]


_REMAINS = re.compile(r"(?:(?<=\s)|^)(?:['\u2019]s?(?=\s|$)|[\"\u201c\u201d()]+(?=\s|$))")
"""Possessive endings and quotes that were around a name."""


def _unrepeated(piece: list[Word]) -> list[Word]:
    """Return a piece without the words at its ends that it holds again: "of" before "Journal of Physics"."""
    while piece[0].form in {word.form for word in piece[1:]}:
        piece = piece[1:]
    while piece[-1].form in {word.form for word in piece[:-1]}:
        piece = piece[:-1]
    return piece


def through_facts(question: str, facts: Sequence[tuple[str, str, str]], counts: WordCounts) -> list[str]:
    """Return at most `MOST` rewrites through facts, best first, of which the question mentions just one end."""
    mentions = Mentions(question, counts, {end for subject, _, object_ in facts for end in (subject, object_)})
    rewrites: dict[str, None] = {}
    for subject, _, object_ in facts:
        for end, other in ((subject, object_), (object_, subject)):
            if mentions.coverage(end) >= MENTIONED and mentions.coverage(other) < ABSENT:
                rewrites[f"{mentions.without(end)} {other}".strip()] = None
    return list(islice(rewrites, MOST))


def through_passages(space: Space, question: str, cosines: Float32s) -> list[str]:
    """Return rewrites through the sentences of the passages nearest to a question, by cosines of shape (passages,).

    Each sentence is taken for a fact that joins the names in it. Where a sentence (with its passage's title) holds a
    mention, the heaviest one leaves the question for each name that is not in it; where it holds none, the names in its
    text are only appended. At most `MOST` rewrites are returned, first those of sentences in good passages, that hold a
    mention, and much of the question.
    """
    best = top_k(cosines, _PASSAGES)
    read = []
    for (title, text), score in zip(space.read(best.tolist()), min_max(cosines)[best].tolist(), strict=True):
        name = plain_title(title)
        for sentence in sentences(text[:_READ]):
            names = list(dict.fromkeys([name, *names_in(sentence)] if name else names_in(sentence)))
            read.append((name, f"{title} {sentence}", names, score))
    mentions = Mentions(question, space.words, {name for _, _, names, _ in read for name in names})
    ranked: list[tuple[float, str]] = []
    for title, text, names, score in read:
        mentioned = [name for name in names if mentions.coverage(name) >= MENTIONED]
        absent = [name for name in names if mentions.coverage(name) < ABSENT]
        if not mentioned:
            # With its own title a passage would only find itself.
            absent = [name for name in absent if name != title]
        rest = mentions.without(max(mentioned, key=mentions.weight)) if mentioned and absent else question
        score_of_sentence = score + _MENTION * bool(mentioned) + _OVERLAP * mentions.overlap(forms(text))
        ranked.extend((score_of_sentence, f"{rest} {name}".strip()) for name in absent)
    ranked.sort(key=lambda pair: -pair[0])
    return distinct(text for _, text in ranked)


def distinct(rewrites: Iterable[str]) -> list[str]:
    """Return the first `MOST` of some rewrites that differ in more than case."""
    texts: dict[str, str] = {}
    for text in rewrites:
        texts.setdefault(text.casefold(), text)
    return list(islice(texts.values(), MOST))


class Rewrites(NamedTuple):
    """The rewrites of a batch of questions."""

    texts: list[str]
    """Question after question."""
    owners: Int64s
    """The question of each, shape (rewrites,)."""
    vectors: Float32s
    """Shape (rewrites, dimension)."""
    best: Float32s
    """The score that each gives to the passage nearest to it, shape (rewrites,)."""

    def of(self, question: int) -> list[tuple[str, float]]:
        """Return the rewrites of a question with their best scores, for `Activation`."""
        rows = np.flatnonzero(self.owners == question)
        return [(self.texts[row], float(self.best[row])) for row in rows]


def ask(space: Space, rewrites: Sequence[list[str]], scores: Float32s) -> Rewrites:
    """Ask the rewrites of each question of a batch, all in one call of the encoder.

    In `scores`, float32 of shape (questions, passages), a higher weighted cosine to a rewrite replaces the question's.
    All weighted cosines to a rewrite are lowered by what the best of them is above the best of the question: a rewrite
    may lead to other passages, but to none with more certainty than the question itself.
    """
    texts = [text for row in rewrites for text in row]
    owners = np.repeat(np.arange(len(rewrites)), [len(row) for row in rewrites])
    if not texts:
        return Rewrites([], owners, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
    vectors = space.encode(texts)
    limits = scores.max(axis=1, initial=-1.0)[owners]
    best = np.empty(len(texts), np.float32)
    step = max(_CELLS // max(scores.shape[1], 1), 1)
    for start in range(0, len(texts), step):
        part = slice(start, start + step)
        dense = space.dense(vectors[part])
        dense *= np.float32(WEIGHT)
        highest = dense.max(axis=1, initial=-1.0)
        best[part] = np.minimum(highest, limits[part])
        dense -= (highest - best[part])[:, None]
        for owner, row in zip(owners[part], dense, strict=True):
            np.maximum(scores[owner], row, out=scores[owner])
    return Rewrites(texts, owners, vectors, best)
