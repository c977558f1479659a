"""The best candidates of every question: an inner loop that looks at each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def best_of_each(
    scores: NDArray[np.float64], offsets: NDArray[np.int64], chosen: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Choose the best candidates of each group: the highest score first, of equal ones the earlier.

    Args:
        scores: float64 array of shape (candidates,), one group after the other; -inf for none.
        offsets: int64 array of shape (groups + 1,): where each group begins.
        chosen: int64 array of shape (groups, k), written: places of the chosen candidates.
        counts: int64 array of shape (groups,), written: how many were chosen, at most k.
    """
    k = chosen.shape[1]
    best = np.empty(k, np.float64)
    for group in range(len(offsets) - 1):
        count = 0
        for place in range(offsets[group], offsets[group + 1]):
            score = scores[place]
            if score == -np.inf or (count == k and score <= best[k - 1]):
                continue
            slot = count if count < k else k - 1
            count = min(count + 1, k)
            while slot > 0 and best[slot - 1] < score:
                best[slot], chosen[group, slot] = best[slot - 1], chosen[group, slot - 1]
                slot -= 1
            best[slot], chosen[group, slot] = score, place
        counts[group] = count
