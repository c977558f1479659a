"""Inner loops of SEAL: the best candidates of beams, a trie of a question's keys, and scores of documents and chunks.

A key's number is its rank: keys are ordered by falling weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import helper, kernel

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float64s, Int32s, Int64s, Uint8s

    Trie = tuple[Int64s, Int32s]
    """A hash table of (parent node and token, child node), with -1 where it is free; and of each node the key that ends
    there, -1 for none, in two columns: keys that count anywhere, and whole titles."""
    KeyArrays = tuple[Float64s, Int64s, Int64s, Int64s]
    """Weights, lengths, distinct tokens, offsets of each key's among these."""
    Question = tuple[Trie, KeyArrays, int]
    """The trie of its keys, the keys, and the tokens of its longest key, 0 if only the best key counts."""
    Texts = tuple[Int32s, Int64s, Int32s, Int64s]
    """Values and offsets of titles, and those of bodies."""
    Votes = tuple[Int64s, Float64s]
    """Keys, and what each adds to a score."""

BETA = 0.8
"""The part of a key's weight that is lost with the tokens that better keys have too."""


@kernel
def best_of_each(scores: Float64s, offsets: Int64s, chosen: Int64s, counts: Int64s) -> None:
    """Choose the best candidates of each group: the highest score first, of equal ones the earlier.

    Args:
        scores: float64 array of shape (candidates,), one group after the other; -inf for none.
        offsets: int64 array of shape (groups + 1,): where each group begins.
        chosen: int64 array of shape (groups, k), written: indices of the chosen candidates.
        counts: int64 array of shape (groups,), written: how many were chosen, at most k.
    """
    k = chosen.shape[1]
    best = np.empty(k, np.float64)
    for group in range(len(offsets) - 1):
        count = 0
        for candidate in range(offsets[group], offsets[group + 1]):
            score = scores[candidate]
            if score == -np.inf or (count == k and score <= best[k - 1]):
                continue
            slot = count if count < k else k - 1
            count = min(count + 1, k)
            while slot > 0 and best[slot - 1] < score:
                best[slot], chosen[group, slot] = best[slot - 1], chosen[group, slot - 1]
                slot -= 1
            best[slot], chosen[group, slot] = score, candidate
        counts[group] = count


@helper
def _code(parent: int, token: int) -> int:
    return int((np.int64(parent) << 32) | np.int64(token))


@helper
def _slot(slots: Int64s, code: int) -> int:
    """Return where a child is in the table, or the free slot where it would be."""
    mask = len(slots) - 1
    slot = np.int64((np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while slots[slot, 0] != code and slots[slot, 0] >= 0:
        slot = (slot + 1) & mask
    return int(slot)


@helper
def _child(slots: Int64s, parent: int, token: int) -> int:
    """Return a child of a node, or -1."""
    return int(slots[_slot(slots, _code(parent, token)), 1])


@kernel
def insert_keys(values: Int64s, offsets: Int64s, title: Uint8s, trie: Trie, first: Bools) -> None:
    """Put keys into a trie.

    Args:
        values: the keys' tokens, one key after the other, the best first.
        offsets: int64 array of shape (keys + 1,).
        title: of each key 1 if it is a whole title, else 0.
        trie: a table of a power of two slots, at least twice the tokens, all -1; and ends for the tokens and one more,
            all -1; written.
        first: bool array of shape (keys,), written: whether no better key has these tokens.
    """
    slots, ends = trie
    nodes = 1
    for key in range(len(first)):
        node = 0
        for position in range(offsets[key], offsets[key + 1]):
            code = _code(node, values[position])
            slot = _slot(slots, code)
            if slots[slot, 0] < 0:
                slots[slot, 0], slots[slot, 1] = code, nodes
                nodes += 1
            node = slots[slot, 1]
        first[key] = ends[node, title[key]] < 0
        if first[key]:
            ends[node, title[key]] = key


@helper
def _gain(keys: KeyArrays, key: int, stamps: Int64s, mark: int) -> float:
    """Return a key's weight by how new its tokens are, and mark these as known."""
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
def score_documents(keys: KeyArrays, ranks: Int64s, offsets: Int64s, stamps: Int64s, scores: Float64s) -> None:
    """Sum the weights of the keys of each document.

    Args:
        keys: the question's.
        ranks: the keys of each document, ascending.
        offsets: int64 array of shape (documents + 1,): where each document's begin.
        stamps: zeros, one for every token id.
        scores: float64 array of shape (documents,), zeros; written.
    """
    for document in range(len(scores)):
        for position in range(offsets[document], offsets[document + 1]):
            scores[document] += _gain(keys, ranks[position], stamps, document + 1)


@helper
def _appended(matches: Int64s, size: int, key: int, position: int) -> Int64s:
    """Append a match to an array that grows."""
    if size == len(matches):
        wider = np.empty(2 * len(matches), np.int64)
        wider[: len(matches)] = matches
        matches = wider
    matches[size] = (np.int64(key) << 32) | np.int64(position)
    return matches


@helper
def _matches_at(trie: Trie, text: Int32s, first: int, position: int, matches: Int64s, size: int) -> tuple[Int64s, int]:
    """Append the keys that begin at `text[first]`."""
    slots, ends = trie
    node = 0
    for i in range(first, len(text)):
        node = _child(slots, node, text[i])
        if node < 0:
            break
        if ends[node, 0] >= 0:
            matches = _appended(matches, size, ends[node, 0], position)
            size += 1
    return matches, size


@helper
def _title_key(trie: Trie, text: Int32s) -> int:
    """Return the title key that a text is, or -1."""
    slots, ends = trie
    node = 0
    for token in text:
        node = _child(slots, node, token)
        if node < 0:
            return -1
    return int(ends[node, 1])


@helper
def _matches(trie: Trie, title: Int32s, body: Int32s, start: int, stop: int) -> Int64s:
    """Return all matches of a chunk, by key and position; the title comes before the body."""
    matches = np.empty(64, np.int64)
    size = 0
    title_key = _title_key(trie, title)
    if title_key >= 0:
        matches = _appended(matches, size, title_key, 0)
        size += 1
    for position in range(len(title)):
        matches, size = _matches_at(trie, title, position, position, matches, size)
    for position in range(start, stop):
        matches, size = _matches_at(trie, body, position, len(title) + position - start, matches, size)
    return np.sort(matches[:size])


@helper
def _count_votes(keys: KeyArrays, matches: Int64s, room: int, stamps: Int64s, mark: int, votes: Votes) -> int:
    """Let keys take their positions, the best first; return how many voted."""
    _, lengths, _, _ = keys
    voters, gains = votes
    taken = np.zeros(room, np.uint8)
    count = 0
    for match in matches:
        key, position = match >> 32, match & 0xFFFFFFFF
        if taken[position : position + lengths[key]].any():
            continue
        taken[position : position + lengths[key]] = 1
        if count == 0 or voters[count - 1] != key:
            voters[count] = key
            gains[count] = _gain(keys, key, stamps, mark)
            count += 1
    return count


@helper
def _vote(
    question: Question, title: Int32s, body: Int32s, owned: Int64s, stamps: Int64s, mark: int, votes: Votes
) -> int:
    """Write who votes for a chunk that owns the tokens [owned[1], owned[2]) of a body; return how many."""
    trie, keys, longest = question
    matches = _matches(trie, title, body, owned[1], owned[2])
    if longest > 0:
        room = len(title) + owned[2] - owned[1] + longest
        return int(_count_votes(keys, matches, room, stamps, mark, votes))
    if len(matches) == 0:
        return 0
    votes[0][0] = matches[0] >> 32
    votes[1][0] = keys[0][votes[0][0]]
    return 1


@kernel
def score_chunks(
    question: Question, texts: Texts, chunks: Int64s, stamps: Int64s, votes: Votes, scores: Float64s
) -> int:
    """Score chunks by the keys that begin in them or are in their document's title.

    Each key takes all its positions that are still free, in the order of the keys; it counts once if it got one. Return
    how many keys voted for the last chunk.

    Args:
        question: its keys.
        texts: of some documents.
        chunks: int64 array of shape (chunks, 3): the number of each chunk's document among these texts, its first token
            in the body, and the one after its last.
        stamps: zeros, one for every token id.
        votes: with room for every key, written: the keys that voted for the last chunk, and what each gave.
        scores: float64 array of shape (chunks,), written.
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
