"""What is lost where fewer look-ups are made: by following neighbours, and by leaving certain tokens to the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.readers.knn_lm_report.figures import Figures, figures
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a curve.

    Attributes:
        mixing: the settings.
        figures: what they give, look-ups included.
        seconds: wall time of the look-ups.
    """

    mixing: Mixing
    figures: Figures
    seconds: float


def pointer_curve(
    datastore: Datastore, readings: Readings, mixing: Mixing, pointers: Sequence[int], folder: Path
) -> list[Point]:
    """Perplexity and searches by how many followed neighbours are enough (RetoMaton; Alon et al., 2022).

    Args:
        datastore: where.
        readings: the tokens.
        mixing: the other settings, with a temperature.
        pointers: values of `Mixing.pointers`.
        folder: for the neighbours of one value at a time.
    """
    points = []
    for enough in pointers:
        settings = replace(mixing, pointers=enough)
        found = gather(datastore, readings, settings, folder)
        points.append(Point(settings, figures(found, found.mixed(settings)), found.seconds))
    return points


def gate_curve(found: Neighbourhoods, mixing: Mixing, gates: Sequence[float]) -> list[Point]:
    """Perplexity and searches by the entropy, in nats, from which on the datastore is asked.

    Args:
        found: the neighbours of all tokens, looked up without a gate and without pointers.
        mixing: the other settings, with a temperature.
        gates: values of `Mixing.gate`.
    """
    points = []
    neighbours = found.mixed(mixing)
    for gate in gates:
        gated = np.asarray(found.readings.entropy < gate)
        without = replace(found, gated=gated, searched=~gated)
        mixed = np.where(gated, found.model(), neighbours)
        points.append(
            Point(replace(mixing, gate=gate), figures(without, mixed), found.seconds * float(1 - gated.mean()))
        )
    return points
