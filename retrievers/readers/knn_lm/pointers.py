"""Following neighbours from one token to the next, instead of searching anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.readers.knn_lm.neighbours import look_up, missing, nearest_first, put, taken
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.ids import token_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.datastore import Datastore, Neighbours
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing


class Pointers:
    """Sequences side by side that are walked through token by token (RetoMaton, without clusters; Alon et al., 2022).

    A neighbour whose value is the token that came points to its successor, the entry at `id + 1`. Where at least
    `mixing.pointers` successors exist, they are the neighbours of the next place, with their exact distances; where
    they are fewer, the datastore is searched. Successors that do not exist end there: a datastore has no entry after
    the last one of a text.

    Args:
        datastore: what is searched and followed.
        mixing: its `k`, `pointers` and `rescore` are read.
        rows: how many sequences.

    Attributes:
        searches: places that were searched for so far.
        saved: places whose neighbours were followed to instead.
        followed: the sequences of the last step that were among these, bool of shape (rows,).

    Raises:
        QueryError: `mixing.pointers` is None.
    """

    searches: int
    saved: int
    followed: NDArray[np.bool_]

    def __init__(self, datastore: Datastore, mixing: Mixing, rows: int) -> None:
        if mixing.pointers is None:
            msg = "pointers is None: give the number of entries that are enough to follow them instead of searching"
            raise QueryError(msg)
        self._datastore = datastore
        self._mixing = mixing
        self._least = mixing.pointers
        self._last = missing(rows, mixing.k)
        self.searches = 0
        self.saved = 0
        self.followed = np.zeros(rows, bool)

    def __len__(self) -> int:
        """How many sequences."""
        return len(self._last.ids)

    def forget(self) -> None:
        """Begin anew: the next places do not follow from the last ones."""
        self._last = missing(len(self), self._mixing.k)

    def reorder(self, rows: NDArray[np.int64]) -> None:
        """Go on with other sequences: the new i-th one is the former `rows[i]`-th one, as beams are reordered."""
        self._last = taken(self._last, rows)

    def step(
        self,
        keys: NDArray[np.float32],
        came: NDArray[np.int32] | NDArray[np.int64],
        wanted: NDArray[np.bool_] | None = None,
    ) -> Neighbours:
        """The neighbours of the next place of every sequence.

        Args:
            keys: shape (rows, dimension): what was read up to the place, the token that came included.
            came: the token that came after the place before, shape (rows,); of no account at a first place.
            wanted: whether to look there, bool of shape (rows,); everywhere by default. A place where it is not gets no
                neighbours, and the one after it nothing to follow.

        Returns:
            Shape (rows, k), nearest first.
        """
        wanted = np.ones(len(keys), bool) if wanted is None else wanted
        here = missing(len(keys), self._mixing.k)
        followed = self._follow(here, keys, came, wanted)
        searched = np.flatnonzero(wanted & ~followed)
        if len(searched):
            put(
                here,
                searched,
                look_up(self._datastore, keys[searched], self._mixing.k, rescore=self._mixing.rescore),
            )
        self.followed = followed
        self.saved += int(followed.sum())
        self.searches += len(searched)
        self._last = here
        return here

    def _follow(
        self,
        here: Neighbours,
        keys: NDArray[np.float32],
        came: NDArray[np.int32] | NDArray[np.int64],
        wanted: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Fill in the places that have enough successors, and tell which."""
        points = (self._last.tokens == came[:, None]) & (self._last.ids >= 0)
        counts = points.sum(axis=1)
        rows = np.flatnonzero(wanted & (counts >= self._least))
        followed = np.zeros(len(keys), bool)
        if len(rows):
            # Successors in front, so that no more columns are measured than the longest row has.
            successors = np.where(points[rows], token_positions(self._last.ids[rows], np.int64(1)), -1)
            successors = -np.sort(-successors, axis=1)[:, : counts[rows].max()]
            measured = nearest_first(self._datastore.measure(keys[rows], successors))
            enough = (measured.ids >= 0).sum(axis=1) >= self._least
            put(here, rows[enough], taken(measured, enough))
            followed[rows[enough]] = True
        return followed
