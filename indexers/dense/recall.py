"""What an index promises: a value of its search parameter, and the recall that was measured with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.indexers.dense.probe import K
from mnemodex.schemas.manifest import Recall, SearchParameters

if TYPE_CHECKING:
    from mnemodex.indexers.dense.probe import Probe

HELD_OUT_MARGIN = 2
"""Rows of the corpus are easier to find than questions about it (0.966 against 0.928 at the same efSearch), so a value
chosen with held-out rows is doubled."""


class MeasuredRecall(NamedTuple):
    """What measuring an index gave; see `Measured`."""

    recall: Recall
    search: SearchParameters


def choose(probe: Probe, target: float) -> MeasuredRecall:
    """Take the smallest value that reaches the target recall, doubled if the probes were held-out rows."""
    recalls = probe.curve()
    reaching = np.flatnonzero(recalls >= target)
    number = int(reaching[0]) if len(reaching) else len(recalls) - 1
    margin = HELD_OUT_MARGIN if probe.origin == "held-out rows" else 1
    value = min(margin * int(probe.values[number]), max(probe.limit, int(probe.values[number])))
    used = int(np.searchsorted(probe.values, value, side="right")) - 1
    tuned = probe.parameter is not None
    recall = Recall(
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
    return MeasuredRecall(recall, SearchParameters(parameter=recall.parameter, value=recall.value))
