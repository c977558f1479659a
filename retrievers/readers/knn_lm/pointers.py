"""Following neighbours from one token to the next, instead of searching for each."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.datastore import Neighbours
from mnemodex.schemas.errors import ModelError, QueryError
from mnemodex.schemas.ids import token_positions

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Int64s, Integers
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.attachment import Forward
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing


def look_up(datastore: Datastore, keys: Float32s, mixing: Mixing) -> Neighbours:
    """Search for keys of shape (q, dimension), by `k` and `rescore` of the settings; nearest first."""
    neighbours = datastore.nearest(keys, mixing.k)
    return datastore.measure(keys, neighbours.ids).nearest_first() if mixing.rescore else neighbours


class Pointers:
    """Sequences side by side that are read token by token (RetoMaton, without clusters; Alon et al., 2022).

    A neighbour whose value is the token that came points to its successor, the entry at `id + 1`. Where at least
    `mixing.pointers` successors exist, they are the neighbours of the next place, with their exact distances; where
    they are fewer, the datastore is searched. A datastore has no entry after the last one of a text. `k` and `rescore`
    of the settings are read too.

    Attributes:
        searches: places that were searched for so far.
        saved: places whose neighbours were followed to instead.
        followed: the sequences of the last step that were among these, bool of shape (rows,).

    Raises:
        QueryError: `mixing.pointers` is None.
    """

    def __init__(self, datastore: Datastore, mixing: Mixing, rows: int) -> None:
        if mixing.pointers is None:
            raise QueryError(
                "pointers is None: give the number of entries that are enough to follow instead of searching"
            )
        self._datastore = datastore
        self._mixing = mixing
        self._enough = mixing.pointers
        self._last = Neighbours.missing(rows, mixing.k)
        self.searches = 0
        self.saved = 0
        self.followed = np.zeros(rows, bool)

    def __len__(self) -> int:
        return len(self._last.ids)

    def forget(self) -> None:
        """Let the next places not follow from the last ones."""
        self._last = Neighbours.missing(len(self), self._mixing.k)

    def reorder(self, rows: Int64s) -> None:
        """Continue with other sequences: the new i-th one is the former `rows[i]`-th one, as beams are reordered."""
        self._last = self._last.take(rows)

    def step(self, keys: Float32s, came: Integers, wanted: Bools | None = None) -> Neighbours:
        """Return the neighbours of the next place of every sequence, shape (rows, k), nearest first.

        Args:
            keys: shape (rows, dimension): what was read up to the place, the token that came included.
            came: the token that came after the place before, shape (rows,); ignored at a first place.
            wanted: whether to look there, bool of shape (rows,); everywhere by default. A place where it is not gets no
                neighbours, and the one after it has none to follow.
        """
        wanted = np.ones(len(keys), bool) if wanted is None else wanted
        neighbours = Neighbours.missing(len(keys), self._mixing.k)
        self.followed = self._follow(neighbours, keys, came, wanted)
        searched = np.flatnonzero(wanted & ~self.followed)
        if len(searched):
            neighbours.put(searched, look_up(self._datastore, keys[searched], self._mixing))
        self.saved += int(self.followed.sum())
        self.searches += len(searched)
        self._last = neighbours
        return neighbours

    def _follow(self, neighbours: Neighbours, keys: Float32s, came: Integers, wanted: Bools) -> Bools:
        """Fill in the rows that have enough successors, and return which these are."""
        points = (self._last.tokens == came[:, None]) & (self._last.ids >= 0)
        counts = points.sum(axis=1)
        rows = np.flatnonzero(wanted & (counts >= self._enough))
        followed = np.zeros(len(keys), bool)
        if len(rows):
            # Successors in front, so that no more columns are measured than the longest row has.
            successors = np.where(points[rows], token_positions(self._last.ids[rows], np.int64(1)), -1)
            successors = -np.sort(-successors, axis=1)[:, : counts[rows].max()]
            measured = self._datastore.measure(keys[rows], successors).nearest_first()
            enough = (measured.ids >= 0).sum(axis=1) >= self._enough
            neighbours.put(rows[enough], measured.take(enough))
            followed[rows[enough]] = True
        return followed


class PointerStore:
    """Keeps pointers from one forward pass to the next, so that generating text can follow them.

    They belong to a cache of keys and values, as long as it lives and ends where they do; without one, to the tokens
    that were read. `generate()` makes a new cache each time, and so starts with a search.
    """

    def __init__(self, datastore: Datastore, mixing: Mixing) -> None:
        self._datastore = datastore
        self._mixing = mixing
        self._by_cache: weakref.WeakKeyDictionary[Any, tuple[int, Pointers]] = weakref.WeakKeyDictionary()
        self._by_tokens: tuple[dict[bytes, int], Pointers] | None = None

    def reorder(self, cache: Any, rows: Int64s) -> None:
        """Reorder the pointers of a cache as its beams were."""
        if cache in self._by_cache:
            self._by_cache[cache][1].reorder(rows)

    def resume(self, forward: Forward) -> Pointers:
        """Return pointers that end in front of the first place of a pass, or new ones."""
        rows = len(forward.logits)
        if forward.cache is not None:
            past = _length(forward.cache) - forward.length
            end, pointers = self._by_cache.get(forward.cache, (0, None))
            # A cache that was cropped or filled by others ends elsewhere.
            if pointers is not None and end == past and len(pointers) == rows:
                if forward.positions[0] > 0:
                    pointers.forget()
                return pointers
        elif forward.tokens is not None and self._by_tokens and forward.positions.tolist() == [forward.length - 1]:
            known, pointers = self._by_tokens
            order = [known.get(sequence.tobytes(), -1) for sequence in forward.tokens[:, :-1]]
            if min(order) >= 0:
                pointers.reorder(np.array(order, np.int64))
                return pointers
        return Pointers(self._datastore, self._mixing, rows)

    def keep(self, forward: Forward, pointers: Pointers) -> None:
        """Keep pointers for the next forward pass, if they end at the last token of this one."""
        if forward.positions[-1] != forward.length - 1:
            return
        if forward.cache is not None:
            self._by_cache[forward.cache] = (_length(forward.cache), pointers)
        elif forward.tokens is not None:
            self._by_tokens = {sequence.tobytes(): row for row, sequence in enumerate(forward.tokens)}, pointers


def _length(cache: Any) -> int:
    """Return the number of tokens in a cache."""
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"pointers continue where a cache ends, but a {type(cache).__name__} of this model does not tell where "
            "that is; leave pointers out"
        ) from error
