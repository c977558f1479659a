"""Questions rewritten through what bridges them to an answer: a name leaves, the bridge takes its place."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from mnemodex.indexers.graph.names import names_in, plain_title, sentences
from mnemodex.indexers.graph.words import forms
from mnemodex.retrievers.graph.mentions import ABSENT, MENTIONED, Mentions
from mnemodex.retrievers.graph.method import min_max
from mnemodex.retrievers.top_k import top_k

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.graph.space import Space

MOST = 5
"""Rewrites of one question."""
_PASSAGES, READ = 5, 4096
"""Passages whose sentences are taken for facts, and characters of each: its vector does not cover the rest either."""
_MENTION, _OVERLAP = 0.2, 0.5
"""Scores of a sentence that holds a mention, and of one that holds all of the question."""


def through_facts(mentions: Mentions, facts: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return at most `MOST` rewrites of a question through facts, best first, of which it mentions just one end."""
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
    mention, and much of the question. A question that names nothing has none: neither by how it is written, nor by a
    name in these sentences with a word that few passages hold.
    """
    best = top_k(cosines, _PASSAGES)
    read = []
    for (title, text), score in zip(space.read(best.tolist()), min_max(cosines)[best].tolist(), strict=True):
        name = plain_title(title)
        for sentence in sentences(text[:READ]):
            names = list(dict.fromkeys([name, *names_in(sentence)] if name else names_in(sentence)))
            read.append((name, f"{title} {sentence}", names, score))
    known = {name for _, _, names, _ in read for name in names}
    mentions = Mentions(question, space.words, known)
    if not names_in(question) and not any(map(mentions.is_distinct, known)):
        return []
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
