"""Questions rewritten through what bridges them to an answer: the mention goes, the bridge comes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.graph.capitals import names_in, plain_title, sentences
from mnemodex.indexers.graph.words import forms
from mnemodex.retrievers.graph.coverage import ABSENT, MENTIONED, Mentions
from mnemodex.retrievers.graph.walker import min_max
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mnemodex.indexers.graph.words import WordCounts
    from mnemodex.retrievers.graph.space import Passage, Space

MOST = 5
"""Rewrites of one question."""
WEIGHT = 0.95
"""What a passage's cosine to a rewrite counts beside its cosine to the question."""
_PASSAGES = 5
"""Passages whose sentences are taken for facts."""
_READ = 4096
"""Characters of a passage that are read: of a longer one, its vector tells no more either."""
_CELLS = 1 << 24
"""Cosines of rewrites that are in memory at a time."""
_MENTION = 0.2
_OVERLAP = 0.5


def through_facts(question: str, facts: Sequence[tuple[str, str, str]], counts: WordCounts) -> list[str]:
    """Rewrites through the facts with one end that the question mentions and one that it does not.

    Args:
        question: its text.
        facts: the facts nearest to it, best first.
        counts: in how many passages each word stands.

    Returns:
        At most `MOST` questions, in the order of the facts.
    """
    mentions = Mentions(question, counts, {end for subject, _, object_ in facts for end in (subject, object_)})
    found: dict[str, None] = {}
    for subject, _, object_ in facts:
        for end, other in ((subject, object_), (object_, subject)):
            if mentions.coverage(end) >= MENTIONED and mentions.coverage(other) < ABSENT:
                found[f"{mentions.without(end)} {other}".strip()] = None
    return list(islice(found, MOST))


class _Sentence(NamedTuple):
    title: str
    text: str
    names: list[str]
    score: float


def through_best(space: Space, question: str, cosines: NDArray[np.float32]) -> list[str]:
    """Rewrites through the passages nearest to a question.

    Args:
        space: what holds them.
        question: its text.
        cosines: float32 of shape (passages,).
    """
    passages = top_k(cosines, _PASSAGES)
    scores = min_max(cosines)[passages].tolist()
    return through_passages(question, space.read(passages.tolist()), scores, space.words)


def through_passages(
    question: str, passages: Sequence[Passage], scores: Sequence[float], counts: WordCounts
) -> list[str]:
    """Rewrites through the sentences of the best passages: each is taken for a fact that joins the names in it.

    Where a sentence (with its passage's title) holds a mention, the heaviest one leaves the question for each name that
    is not in it; where it holds none, the names in its text are only appended.

    Args:
        question: its text.
        passages: the best passages.
        scores: of each, from 0 for the worst of all passages to 1 for the best.
        counts: in how many passages each word stands.

    Returns:
        At most `MOST` questions, first those of sentences in good passages, that hold a mention, and much of the
        question.
    """
    split = list(_sentences(passages, scores))
    mentions = Mentions(question, counts, {name for sentence in split for name in sentence.names})
    ranked: list[tuple[float, str]] = []
    for sentence in split:
        held = [name for name in sentence.names if mentions.coverage(name) >= MENTIONED]
        absent = [name for name in sentence.names if mentions.coverage(name) < ABSENT]
        if not held:
            # With its own title a passage would only find itself.
            absent = [name for name in absent if name != sentence.title]
        rest = mentions.without(max(held, key=mentions.weight)) if held and absent else question
        score = sentence.score + _MENTION * bool(held) + _OVERLAP * mentions.overlap(forms(sentence.text))
        ranked.extend((score, f"{rest} {name}".strip()) for name in absent)
    ranked.sort(key=lambda pair: -pair[0])
    return together([text for _, text in ranked], ())


def _sentences(passages: Sequence[Passage], scores: Sequence[float]) -> Iterator[_Sentence]:
    for (title, text), score in zip(passages, scores, strict=True):
        name = plain_title(title)
        for sentence in sentences(text[:_READ]):
            names = dict.fromkeys([name, *names_in(sentence)] if name else names_in(sentence))
            yield _Sentence(name, f"{title} {sentence}", list(names), score)


class Asked(NamedTuple):
    """The rewrites of a batch of questions.

    Attributes:
        texts: the rewrites, question after question.
        owners: int64 of shape (rewrites,): the question of each.
        vectors: float32 of shape (rewrites, dimension).
        cosines: float32 of shape (rewrites,): of the passage nearest to each.
    """

    texts: list[str]
    owners: NDArray[np.int64]
    vectors: NDArray[np.float32]
    cosines: NDArray[np.float32]

    def of(self, question: int) -> list[tuple[str, float]]:
        """The rewrites of a question with what they weigh, for `Activation`."""
        places = np.flatnonzero(self.owners == question)
        return [(self.texts[place], float(WEIGHT * self.cosines[place])) for place in places]


def together(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The first rewrites and, where there is room, the second, each once."""
    found: dict[str, str] = {}
    for text in (*first, *second):
        found.setdefault(text.casefold(), text)
    return list(islice(found.values(), MOST))


def ask(space: Space, rewrites: Sequence[list[str]], scores: NDArray[np.float32]) -> Asked:
    """Ask the rewrites of a batch, all in one call of the encoder.

    Args:
        space: where to ask.
        rewrites: the texts of each question.
        scores: float32 of shape (questions, passages): where the weighted cosine to a rewrite is higher, it takes the
            place of what stands there.
    """
    texts = [text for own in rewrites for text in own]
    owners = np.repeat(np.arange(len(rewrites)), [len(own) for own in rewrites])
    if not texts:
        return Asked([], owners, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
    vectors = space.encode(texts)
    cosines = np.empty(len(texts), np.float32)
    step = max(_CELLS // max(scores.shape[1], 1), 1)
    for start in range(0, len(texts), step):
        part = slice(start, start + step)
        found = space.dense(vectors[part])
        cosines[part] = found.max(axis=1, initial=-1.0)
        np.maximum.at(scores, owners[part], np.float32(WEIGHT) * found)
    return Asked(texts, owners, vectors, cosines)
