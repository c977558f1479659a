"""SEAL's scores in plain Python, as its paper has them: what the kernels are compared with."""

from __future__ import annotations

import math

import numpy as np

from mnemodex.indexers.ngram.ragged import Ragged
from mnemodex.retrievers.seal.keys import Keys, Kind

BETA = 0.8


def make_keys(*rows):
    """Keys from (question, tokens, log probability, kind)."""
    return Keys(
        np.array([row[0] for row in rows], np.int64),
        Ragged.of([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.float64),
        np.array([row[3] for row in rows], np.int8),
    )


def rows_of(keys):
    """The keys as (question, tokens, log probability, kind)."""
    tokens = [tuple(keys.ngrams.part(row, row + 1).values.tolist()) for row in range(len(keys))]
    kinds = map(Kind, keys.kind.tolist())
    return list(zip(keys.query.tolist(), tokens, keys.log_probability.tolist(), kinds, strict=True))


def occurrences(text, ngram):
    """Where an n-gram begins in a text."""
    return [place for place in range(len(text) - len(ngram) + 1) if tuple(text[place : place + len(ngram)]) == ngram]


def odds(log_probability, count, tokens):
    """The weight of LM+FM before it is squared."""
    likely, common = math.exp(min(log_probability, -1e-16)), (count + 5) / (tokens + 5)
    # Near 1, the difference to 1 is all in the logarithm.
    unlikely = -math.expm1(min(log_probability, -1e-16))
    return max(0.0, math.log(likely / unlikely) + (math.log((1 - common) / common) if common < 1 else -math.inf))


def weight(row, rows, count, tokens, score):
    """The weight of a key among those of its question."""
    _, _, log_probability, kind = row
    if score == "lm":
        worst = min((other[2] for other in rows if other[3] != Kind.UNIGRAM), default=math.inf)
        return max(0.0, log_probability - (worst - 0.1)) ** 2
    power = 1 if kind == Kind.UNIGRAM and score == "intersective" else 2
    return odds(log_probability, count, tokens) ** power


def ranked(weighed, *, together):
    """Weighed keys (tokens, kind, weight) in their order, each once."""
    counted = [key for key in weighed if together or key[1] != Kind.UNIGRAM]
    order = sorted(counted, key=lambda key: (key[1] == Kind.UNIGRAM, -key[2], -len(key[0])))
    seen = {}
    for tokens, kind, value in order:
        if value > 0:
            seen.setdefault((tokens, kind == Kind.TITLE), (tokens, kind, value))
    return list(seen.values())


def cover(tokens, known):
    """The part of a key's weight that counts when the tokens `known` are in better keys."""
    distinct = set(tokens)
    return 1 - BETA + BETA * len(distinct - known) / len(distinct)


def provisional(keys):
    """What keys of one document add up to."""
    known, total = set(), 0.0
    for tokens, _, value in keys:
        total += value * cover(tokens, known)
        known |= set(tokens)
    return total


def votes(keys, title, body, start, stop, *, together):
    """(tokens, kind, gain) of every key that votes for the chunk that owns body[start:stop]."""
    taken, known, found = set(), set(), []
    for tokens, kind, value in keys:
        if kind == Kind.TITLE:
            places = [("title", 0)] if tuple(title) == tokens else []
        else:
            places = [("title", place) for place in occurrences(title, tokens)]
            places += [("body", place) for place in occurrences(body, tokens) if start <= place < stop]
        if not together:
            if places:
                return [(tokens, kind, value)]
            continue
        free = False
        for field, place in places:
            span = {(field, place + i) for i in range(len(tokens))}
            if not span & taken:
                taken |= span
                free = True
        if free:
            found.append((tokens, kind, value * cover(tokens, known)))
            known |= set(tokens)
    return found
