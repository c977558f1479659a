"""What a build measures of an index: how it is searched, its recall, and when it abstains."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mnemodex.schemas.artifacts import Count, Frozen

Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class SearchParameters(Frozen):
    """What an index is searched with.

    Attributes:
        parameter: name of the search parameter (`efSearch`, `nprobe`), or None where the index looks at every row.
        value: chosen for it.
        refine: so many times as many hits as are wanted are compared by their vectors; None where none are.
        scale: of distances, for an index whose reader weighs by distance.
    """

    parameter: str | None = None
    value: int | None = Field(default=None, gt=0, lt=1 << 31, strict=True)
    refine: int | None = Field(default=None, gt=0, lt=1 << 31, strict=True)
    scale: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class Recall(Frozen):
    """The measured recall of an index.

    Attributes:
        recall: with the chosen value; the figure of the next smaller value tried where that one was not tried itself.
        low: where its 95 % interval begins, which is over the probes. None in a manifest of a version that measured
            none, and so is `high`.
        high: where it ends.
        k: recall is counted among so many hits.
        probes: queries of the measurement; with 0 nothing could be measured (an index of one row).
        source: what they were: "queries" or "held-out rows".
        parameter: as in `SearchParameters`, and so are `value` and `refine`.
        margin: the chosen value is so many times the smallest whose interval began at the target or above, as far as
            there are lists to look at. Without a parameter it is of `refine`.
        target: recall that was aimed at.
        reached: whether the interval of some value tried began at it or above. If not, the largest is taken.
        curve: recall of each value tried, with the chosen `refine`.
    """

    recall: float
    low: float | None = None
    high: float | None = None
    k: int
    probes: int
    source: str
    parameter: str | None
    value: int | None
    refine: int | None = None
    margin: int
    target: float
    reached: bool
    curve: dict[int, float]

    @property
    def interval(self) -> str:
        """The interval in words; empty where there is none."""
        return "" if self.low is None or self.high is None else f"{self.low:.3f} to {self.high:.3f}"


class Abstention(Frozen):
    """When an index declines to answer, as the answers to some questions were right or wrong.

    Attributes:
        threshold: the least confidence that is answered.
        queries: the questions.
        answered: those whose answers reach it.
        coverage: their part of all questions.
        risk: the part of these answers that is wrong.
        risk_low: where the 95 % interval of the risk begins.
        risk_high: where it ends.
    """

    threshold: float = Field(allow_inf_nan=False)
    queries: Count
    answered: Count
    coverage: float = Field(ge=0, le=1)
    risk: float = Field(ge=0, le=1)
    risk_low: float = Field(ge=0, le=1)
    risk_high: float = Field(ge=0, le=1)


class FittedWeights(Frozen):
    """Weights of a hybrid's parts that were fitted on questions with gold.

    Attributes:
        weights: of the parts, in their order; their sum is 1.
        file_sha256: of the query file.
        queries: its questions with gold.
        ndcg: nDCG@10 over documents of these questions with the weights, which were chosen by it.
        parts: nDCG@10 of each part alone.
    """

    weights: tuple[Weight, ...]
    file_sha256: str
    queries: Count
    ndcg: float = Field(ge=0, le=1)
    parts: dict[str, float]
