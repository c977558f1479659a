"""What a memory does to a model's predictions, in figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods

_PLACES = (0, 128, 512, 1024)


@dataclass(frozen=True, slots=True)
class Quality:
    """Perplexity over some tokens.

    Attributes:
        tokens: how many.
        without: perplexity of the model alone.
        mixed: perplexity with the memory. Infinite where the weight is 1 and a token is no neighbour's.
    """

    tokens: int
    without: float
    mixed: float

    @property
    def ratio(self) -> float:
        """With the memory over without; below 1 it helps."""
        return self.mixed / self.without

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "tokens": self.tokens,
            "perplexity": finite(self.without),
            "perplexity_with_memory": finite(self.mixed),
            "ratio": finite(self.ratio),
        }


@dataclass(frozen=True, slots=True)
class Share:
    """Tokens that the memory changed in one direction.

    Attributes:
        percent: of all tokens.
        nats: the median change of their ln p; None where there are none.
    """

    percent: float
    nats: float | None

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {"percent": self.percent, "median_nats": None if self.nats is None else finite(self.nats)}


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the memory was asked.

    Attributes:
        done: tokens that the index was searched for.
        saved_by_gate: tokens of which the model was certain enough.
        saved_by_pointers: tokens whose neighbours followed from the token before.
    """

    done: int
    saved_by_gate: int
    saved_by_pointers: int

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {"done": self.done, "saved_by_gate": self.saved_by_gate, "saved_by_pointers": self.saved_by_pointers}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a memory did to the predictions of some tokens.

    Attributes:
        overall: perplexity over all of them.
        by_place: perplexity by the token's place in its text, as `128-512`; ranges without tokens are left out.
        helped: tokens that became more likely.
        harmed: tokens that became less likely.
        unchanged: percentage of those that stayed as they were.
        lookups: what it cost.
    """

    overall: Quality
    by_place: dict[str, Quality]
    helped: Share
    harmed: Share
    unchanged: float
    lookups: Lookups

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            **self.overall.to_json(),
            "by_place": {name: quality.to_json() for name, quality in self.by_place.items()},
            "helped": self.helped.to_json(),
            "harmed": self.harmed.to_json(),
            "unchanged_percent": self.unchanged,
            "lookups": self.lookups.to_json(),
        }


def figures(found: Neighbourhoods, mixed: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> Figures:
    """Figures of tokens.

    Args:
        found: the tokens, and what was looked up for them.
        mixed: ln p of each by model and neighbours, shape (n,).
        rows: the tokens that count, bool of shape (n,); all by default.
    """
    kept = np.ones(len(mixed), bool) if rows is None else rows
    without, mixed, places = found.model()[kept], mixed[kept], found.readings.place[kept]
    bins = np.searchsorted(_PLACES, places, side="right") - 1
    names = [f"{low}-{high}" for low, high in pairwise(_PLACES)] + [f"{_PLACES[-1]}+"]
    change = mixed - without
    return Figures(
        overall=quality(without, mixed),
        by_place={
            name: quality(without[bins == number], mixed[bins == number])
            for number, name in enumerate(names)
            if (bins == number).any()
        },
        helped=_share(change, change > 0),
        harmed=_share(change, change < 0),
        unchanged=float((change == 0).mean() * 100),
        lookups=Lookups(
            int(found.searched[kept].sum()),
            int(found.gated[kept].sum()),
            int((~found.searched & ~found.gated)[kept].sum()),
        ),
    )


def quality(without: NDArray[np.float64], mixed: NDArray[np.float64]) -> Quality:
    """Perplexities of ln p of the same tokens, at least one."""
    with np.errstate(over="ignore"):
        return Quality(len(without), float(np.exp(-without.mean())), float(np.exp(-mixed.mean())))


def _share(change: NDArray[np.float64], where: NDArray[np.bool_]) -> Share:
    return Share(float(where.mean() * 100), float(np.median(change[where])) if where.any() else None)


def finite(value: float) -> float | None:
    """What JSON can hold."""
    return value if math.isfinite(value) else None
