"""Inner loops of SEAL: a trie of the keys of one question, and the scores of documents and chunks by them.

A key's number is its rank: keys are ordered by falling weight. In the types below, keys are (weights, lengths, distinct
tokens, offsets of each key's among these).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Trie = tuple[NDArray[np.int64], NDArray[np.int32]]
    """A hash table of (parent node and token, child node), with -1 where it is free; and of each node the key that ends
    there, -1 for none, in two columns: keys that count anywhere, and whole titles."""
    KeyArrays = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    Texts = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]
    """Values and offsets of titles, and those of bodies."""
    Votes = tuple[NDArray[np.int64], NDArray[np.float64]]

BETA = 0.8
"""How much of a key's weight goes with the tokens that better keys have too."""


@helper
def _code(parent: int, token: int) -> int:
    return int((np.int64(parent) << 32) | np.int64(token))


@helper
def _slot(slots: NDArray[np.int64], code: int) -> int:
    """Where a child is in the table, or the free place where it would be."""
    mask = len(slots) - 1
    slot = np.int64((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while slots[slot, 0] != code and slots[slot, 0] >= 0:
        slot = (slot + 1) & mask
    return int(slot)


@kernel
def insert_keys(
    values: NDArray[np.int64],
    offsets: NDArray[np.int64],
    title: NDArray[np.uint8],
    trie: Trie,
    kept: NDArray[np.bool_],
) -> None:
    """Put keys into a trie.

    Args:
        values: the keys' tokens, one key after the other, the best first.
        offsets: int64 array of shape (keys + 1,).
        title: of each key 1 if it is a whole title, else 0.
        trie: a table of a power of two places, at least twice the tokens, all -1; and ends for the tokens and one more,
            all -1; written.
        kept: bool array of shape (keys,), written: whether no better key has these tokens.
    """
    slots, ends = trie
    nodes = 1
    for key in range(len(kept)):
        node = 0
        for place in range(offsets[key], offsets[key + 1]):
            code = _code(node, values[place])
            slot = _slot(slots, code)
            if slots[slot, 0] < 0:
                slots[slot, 0], slots[slot, 1] = code, nodes
                nodes += 1
            node = slots[slot, 1]
        kept[key] = ends[node, title[key]] < 0
        if kept[key]:
            ends[node, title[key]] = key


@helper
def _gain(keys: KeyArrays, key: int, stamps: NDArray[np.int64], mark: int) -> float:
    """A key's weight by how new its tokens are; marks them as known."""
    weights, _, tokens, offsets = keys
    new = 0
    for token in tokens[offsets[key] : offsets[key + 1]]:
        if stamps[token] != mark:
            stamps[token] = mark
            new += 1
    size = offsets[key + 1] - offsets[key]
    gain: float = weights[key] * (1 - BETA + BETA * new / size)
    return gain


@kernel
def score_documents(
    keys: KeyArrays,
    ranks: NDArray[np.int64],
    offsets: NDArray[np.int64],
    stamps: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Sum the weights of the keys of each document.

    Args:
        keys: the question's.
        ranks: the keys of each document, ascending.
        offsets: int64 array of shape (documents + 1,): where each document's begin.
        stamps: zeros, one for every token id.
        scores: float64 array of shape (documents,), zeros; written.
    """
    for document in range(len(scores)):
        for place in range(offsets[document], offsets[document + 1]):
            scores[document] += _gain(keys, ranks[place], stamps, document + 1)


@helper
def _pushed(found: NDArray[np.int64], size: int, key: int, place: int) -> NDArray[np.int64]:
    """Append a match to an array that grows."""
    if size == len(found):
        wider = np.empty(2 * len(found), np.int64)
        wider[: len(found)] = found
        found = wider
    found[size] = (np.int64(key) << 32) | np.int64(place)
    return found


@helper
def _matches_at(
    trie: Trie, text: NDArray[np.int32], first: int, place: int, found: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], int]:
    """The keys that begin at `text[first]`."""
    slots, ends = trie
    node = 0
    for i in range(first, len(text)):
        code = _code(node, text[i])
        slot = _slot(slots, code)
        if slots[slot, 0] < 0:
            break
        node = slots[slot, 1]
        if ends[node, 0] >= 0:
            found = _pushed(found, size, ends[node, 0], place)
            size += 1
    return found, size


@helper
def _whole(trie: Trie, text: NDArray[np.int32]) -> int:
    """The title that a text is, or -1."""
    slots, ends = trie
    node = 0
    for token in text:
        code = _code(node, token)
        slot = _slot(slots, code)
        if slots[slot, 0] < 0:
            return -1
        node = slots[slot, 1]
    return int(ends[node, 1])


@helper
def _matches(trie: Trie, title: NDArray[np.int32], body: NDArray[np.int32], start: int, stop: int) -> NDArray[np.int64]:
    """All matches of a chunk, by key and place; the title comes before the body."""
    found = np.empty(64, np.int64)
    size = 0
    whole = _whole(trie, title)
    if whole >= 0:
        found = _pushed(found, size, whole, 0)
        size += 1
    for place in range(len(title)):
        found, size = _matches_at(trie, title, place, place, found, size)
    for place in range(start, stop):
        found, size = _matches_at(trie, body, place, len(title) + place - start, found, size)
    return np.sort(found[:size])


@helper
def _count_votes(
    keys: KeyArrays, matches: NDArray[np.int64], room: int, stamps: NDArray[np.int64], mark: int, votes: Votes
) -> int:
    """Let keys take their places, the best first; returns how many voted."""
    _, lengths, _, _ = keys
    voters, gains = votes
    taken = np.zeros(room, np.uint8)
    count = 0
    for match in matches:
        key, place = match >> 32, match & 0xFFFFFFFF
        if taken[place : place + lengths[key]].any():
            continue
        taken[place : place + lengths[key]] = 1
        if count == 0 or voters[count - 1] != key:
            voters[count] = key
            gains[count] = _gain(keys, key, stamps, mark)
            count += 1
    return count


@helper
def _vote(
    question: tuple[Trie, KeyArrays, int],
    title: NDArray[np.int32],
    body: NDArray[np.int32],
    run: NDArray[np.int64],
    stamps: NDArray[np.int64],
    mark: int,
    votes: Votes,
) -> int:
    """Who votes for a chunk that owns the tokens [run[1], run[2]) of a body; returns how many."""
    trie, keys, longest = question
    matches = _matches(trie, title, body, run[1], run[2])
    if longest > 0:
        room = len(title) + run[2] - run[1] + longest
        return int(_count_votes(keys, matches, room, stamps, mark, votes))
    if len(matches) == 0:
        return 0
    votes[0][0] = matches[0] >> 32
    votes[1][0] = keys[0][votes[0][0]]
    return 1


@kernel
def score_chunks(
    question: tuple[Trie, KeyArrays, int],
    texts: Texts,
    chunks: NDArray[np.int64],
    stamps: NDArray[np.int64],
    votes: Votes,
    scores: NDArray[np.float64],
) -> int:
    """Score chunks by the keys that begin in them or stand in their document's title.

    Each key takes all its places that are still free, in the order of the keys; it counts once if it got one.

    Args:
        question: the trie of its keys, the keys, and the tokens of its longest key, 0 if only the best key counts.
        texts: of some documents.
        chunks: int64 array of shape (chunks, 3): the number of each chunk's document among these texts, its first token
            in the body, and the one after its last.
        stamps: zeros, one for every token id.
        votes: an int64 and a float64 array with a place for every key, written: the keys that voted for the last chunk,
            and what each gave.
        scores: float64 array of shape (chunks,), written.

    Returns:
        How many keys voted for the last chunk.
    """
    titles, title_offsets, bodies, body_offsets = texts
    count = 0
    for chunk in range(len(chunks)):
        document = chunks[chunk, 0]
        title = titles[title_offsets[document] : title_offsets[document + 1]]
        body = bodies[body_offsets[document] : body_offsets[document + 1]]
        count = _vote(question, title, body, chunks[chunk], stamps, chunk + 1, votes)
        scores[chunk] = votes[1][:count].sum()
    return count
