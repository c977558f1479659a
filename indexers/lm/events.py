"""Events of a text: where a language model is surprised, moved to where the similarity of its states parts best.

After EM-LLM (Fountas et al., Human-inspired Episodic Memory for Infinite Context LLMs, 2024), with the states of
a next-token memory as keys. All sums are of whole numbers, so that the order of additions changes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float16s, Float32s, Int16s, Int64s, Uint8s

STEPS = 1024
"""Of a nat: surprisals are rounded to so many."""
_MOST_NATS = 64
"""A larger surprisal counts as this, so that sums of squares of 16,384 tokens fit."""
_ROUNDED = 2.0**30
LENGTH = 2048
"""Of a state's vector of whole numbers. Dot products of such vectors, of any dimension below 2**20, fit in int32."""


def find_surprising(surprisal: Float32s, *, window: int, gamma: float) -> Bools:
    """Return which tokens of a text are surprising: more than `mean + gamma * standard deviation`.

    These are of the `window` tokens before a token; for one that has fewer before it, of the first `window` tokens of
    the text. The first token of a text, before which there is nothing to expect it from, takes no part.

    Args:
        surprisal: of each token in nats, float32 of shape (tokens,); the first number is ignored.
        window: tokens, 1 to 16,384.
        gamma: standard deviations.

    Returns:
        Bool of shape (tokens,), the first one False.
    """
    tokens = len(surprisal)
    surprising = np.zeros(tokens, np.bool_)
    if tokens < 2:
        return surprising
    # A model of half precision may give a token no probability at all.
    nats = np.nan_to_num(surprisal[1:].astype(np.float64), nan=_MOST_NATS, posinf=_MOST_NATS)
    steps = np.rint(np.clip(nats, 0, _MOST_NATS) * STEPS).astype(np.int64)
    sums, squares = (np.concatenate([[0], np.cumsum(values)]) for values in (steps, steps * steps))
    number = np.arange(tokens - 1)
    start = np.maximum(0, number - window)
    stop = np.maximum(number, min(window, tokens - 1))
    count = stop - start
    total = sums[stop] - sums[start]
    spread = np.sqrt((count * (squares[stop] - squares[start]) - total * total).astype(np.float64))
    surprising[1:] = count * steps - total > gamma * spread
    return surprising


def round_states(states: Float16s) -> Int16s:
    """Return vectors of length `LENGTH` in the directions of states, int16 of shape (tokens, dimension).

    A state of length 0 stays one.
    """
    floats = states.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", floats, floats))
    scale = np.divide(LENGTH, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    rounded: Int16s = np.rint(floats * scale[:, None]).astype(np.int16)
    return rounded


@kernel
def cut_events(states: Int16s, surprising: Bools, fitness: Uint8s, least: int, most: int, conductance: bool) -> Int64s:
    """Return the first token of each event of a text, ascending; int64 of shape (events,), the first one 0.

    An event ends at the first surprising token that is `least` tokens or more behind its begin, or `most` tokens behind
    that where none is. From there its end moves back to the best split of the tokens from its begin to the next such
    token or end: with the largest modularity, or smallest conductance, of the two parts in the graph of all tokens
    whose edges are cosines above 0. Of equal splits it is the last one. Events have `least` to `most` tokens, but where
    the text has fewer than `least`, or none of the tokens can begin an event.

    Args:
        states: of the tokens, as `round_states` gives them; shape (tokens, dimension).
        surprising: which tokens are, bool of shape (tokens,).
        fitness: how well a token begins an event, uint8 of shape (tokens,): 2, only where there is no such token 1, or
            not at all 0.
        least: fewest tokens of an event.
        most: most tokens of an event, at least twice as many.
        conductance: whether conductance decides, and not modularity.
    """
    tokens = len(surprising)
    starts = np.zeros(tokens // least + 1, np.int64)
    count = min(1, tokens)
    begin = 0
    while tokens - begin >= 2 * least:
        end = _find_end(surprising, begin, least, min(most, tokens - least - begin))
        if end < 0:
            if tokens - begin <= most:
                break
            end = min(begin + most, tokens - least)
        following = _find_end(surprising, end, least, min(most, tokens - end))
        stop = min(end + most, tokens) if following < 0 else following
        begin = _find_split(states[begin:stop], fitness, begin, least, end, conductance)
        if begin == tokens:
            break
        starts[count] = begin
        count += 1
    return starts[:count]


@helper
def _find_end(surprising: Bools, begin: int, least: int, most: int) -> int:
    """Return the first surprising token that is `least` to `most` tokens behind a begin, or -1."""
    for token in range(begin + least, min(begin + most + 1, len(surprising))):
        if surprising[token]:
            return token
    return -1


@helper
def _find_split(states: Int16s, fitness: Uint8s, begin: int, least: int, end: int, conductance: bool) -> int:
    """Return where to split the tokens from `begin` on: the best token from `begin + least` to `end`.

    Where none of these can begin an event, the next one that can, or the number of all tokens of the text.
    """
    added, degrees = _add_similarities(states)
    total = degrees.sum()
    best, score, fit = -1, 0.0, 1
    inside = volume = 0
    for token in range(begin + 1, end + 1):
        # Sums of the tokens before this one: among each other, and with all.
        inside += added[token - 1 - begin]
        volume += degrees[token - 1 - begin]
        if token - begin < least or fitness[token] < fit:
            continue
        quality = _score(float(inside), float(volume), float(total), conductance)
        if best < 0 or quality >= score or fitness[token] > fit:
            best, score, fit = token, quality, fitness[token]
    if best < 0:
        best = end + 1
        while best < len(fitness) and not fitness[best]:
            best += 1
    return best


@helper
def _add_similarities(states: Int16s) -> tuple[Int64s, Int64s]:
    """Return what each token adds to the sum of similarities of all pairs before it, and the sum of its own ones.

    A pair counts in both orders, and a token with itself: else, of tokens that are all alike, a part of few would be
    best.
    """
    tokens, dimension = states.shape
    added = np.zeros(tokens, np.int64)
    degrees = np.zeros(tokens, np.int64)
    for one in range(tokens):
        for other in range(one + 1):
            similarity = np.int32(0)
            for place in range(dimension):
                # Without the conversion numba adds up in int64, which takes three times as long.
                similarity = np.int32(similarity + np.int32(states[one, place]) * np.int32(states[other, place]))
            if similarity > 0 and other < one:
                added[one] += 2 * similarity
                degrees[one] += similarity
                degrees[other] += similarity
            elif other == one:
                added[one] += similarity
                degrees[one] += similarity
    return added, degrees


@helper
def _score(inside: float, volume: float, total: float, conductance: bool) -> float:
    """Return how good a split is: modularity, or 1 less its conductance; 0 where nothing is similar.

    Rounded, so that the order of floating-point operations does not part equal splits.

    Args:
        inside: the sum of the similarities within the left part.
        volume: the sum of its tokens' similarities with all.
        total: the sum of all similarities.
        conductance: which of the two.
    """
    rest = total - volume
    across = volume - inside
    quality = 0.0
    if conductance and min(volume, rest) > 0:
        quality = 1.0 - across / min(volume, rest)
    elif not conductance and total > 0:
        quality = 2.0 * (volume / total * (rest / total) - across / total)
    return float(np.rint(quality * _ROUNDED))
