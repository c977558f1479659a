"""What an index promises: a value of its search parameter, and the recall that was measured with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.probe import K

if TYPE_CHECKING:
    from mnemodex.indexers.dense.probe import Origin, Probe

HELD_OUT_MARGIN = 2
"""Rows of the corpus are easier to find than questions about it (0.966 against 0.928 at the same efSearch), so a value
chosen with held-out rows is doubled."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The measured recall of an index.

    Attributes:
        recall: with the chosen value; the figure of the next smaller value tried where that one was not tried itself.
        k: recall is counted among so many hits.
        probes: queries of the measurement; with 0 nothing could be measured (an index of one row).
        source: what they were.
        parameter: name of the search parameter; None where the index looks at every row.
        value: chosen for it.
        margin: the chosen value is so many times the smallest that reached the target, as far as there are lists to
            look at.
        target: recall that was aimed at.
        reached: whether some value tried reached it. If not, the largest is taken.
        curve: recall of each value tried.
    """

    recall: float
    k: int
    probes: int
    source: Origin
    parameter: str | None
    value: int | None
    margin: int
    target: float
    reached: bool
    curve: dict[int, float]

    @property
    def search(self) -> dict[str, Any]:
        """What a searcher is given: `value`, and the name of the parameter for people."""
        return {"parameter": self.parameter, "value": self.value}

    def to_json(self) -> dict[str, Any]:
        """All of it, for the manifest; JSON makes the curve's keys strings."""
        return {**asdict(self), "curve": {str(value): recall for value, recall in self.curve.items()}}


def choose(probe: Probe, target: float) -> Recall:
    """Take the smallest value that reaches the target recall, doubled if the probes were held-out rows."""
    recalls = probe.curve()
    reaching = np.flatnonzero(recalls >= target)
    number = int(reaching[0]) if len(reaching) else len(recalls) - 1
    margin = HELD_OUT_MARGIN if probe.origin == "held-out rows" else 1
    value = min(margin * int(probe.values[number]), max(probe.limit, int(probe.values[number])))
    used = int(np.searchsorted(probe.values, value, side="right")) - 1
    tuned = probe.parameter is not None
    return Recall(
        recall=float(recalls[used if tuned else 0]),
        k=K,
        probes=probe.exact_ids.shape[0],
        source=probe.origin,
        parameter=probe.parameter,
        value=value if tuned else None,
        margin=margin if tuned else 1,
        target=target,
        reached=len(reaching) > 0,
        curve={int(value): float(recall) for value, recall in zip(probe.values, recalls, strict=True)} if tuned else {},
    )
