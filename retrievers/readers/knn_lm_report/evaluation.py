"""Perplexity of a language model over texts, without a memory and with it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.check import check_model
from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.retrievers.readers.knn_lm_report.tuning import fit, halves
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float64s, Int32s
    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods

_PLACES = (0, 128, 512, 1024)


@dataclass(frozen=True, slots=True)
class Quality:
    """Perplexity over some tokens.

    Attributes:
        perplexity: of the model alone.
        perplexity_with_memory: infinite where the weight is 1 and a token is no neighbour's.
        ratio: with the memory over without; below 1 it helps.
    """

    tokens: int
    perplexity: float
    perplexity_with_memory: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Share:
    """Tokens that the memory changed in one direction.

    Attributes:
        median_nats: the median change of their ln p; None where there are none.
    """

    percent: float
    median_nats: float | None


@dataclass(frozen=True, slots=True)
class Lookups:
    """How many tokens the index was searched for, and for how many the gate or the pointers made that unnecessary."""

    done: int
    saved_by_gate: int
    saved_by_pointers: int


@dataclass(frozen=True, slots=True)
class Figures(Quality):
    """What a memory did to the predictions of some tokens.

    Attributes:
        by_place: perplexity by the token's place in its text, as `128-512`; ranges without tokens are left out.
        helped: tokens that became more likely; `harmed`, less.
        unchanged_percent: of the tokens that stayed as they were.
    """

    by_place: dict[str, Quality]
    helped: Share
    harmed: Share
    unchanged_percent: float
    lookups: Lookups


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings that were fitted on one half, and figures of the other."""

    settings: Mixing
    figures: Figures


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning gives.

    Attributes:
        halves: how the tokens were parted.
        unfitted: the settings as they were given.
        fixed: one weight and a temperature.
        buckets: a weight for each range of the nearest distance, and a temperature.
    """

    halves: str
    fitted_on_tokens: int
    unfitted: Fit
    fixed: Fit
    buckets: Fit


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation over texts measured.

    Attributes:
        texts: those with a predicted token.
        texts_left_out: those without.
        settings: with the temperature.
        figures: over all predicted tokens.
        tokens_per_second: of the model.
        lookups_per_second: of the datastore; None where none was made.
        tuned: what settings fitted on one half do to the other, where that is wanted.
    """

    index: str
    model: str
    texts: int
    texts_left_out: int
    settings: Mixing
    figures: Figures
    tokens_per_second: float
    lookups_per_second: float | None
    tuned: Tuned | None

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as `eval --json` prints it."""
        report: dict[str, Any] = _plain(asdict(self))
        if self.tuned is None:
            del report["tuned"]
        return report


def evaluate(
    datastore: Datastore,
    lm: LanguageModel,
    texts: Sequence[Int32s],
    mixing: Mixing,
    folder: Path,
    *,
    tuned: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Read texts, given by their tokens, with a datastore's model, and mix its neighbours in.

    What is too large for memory goes into the folder: keys and neighbours of all tokens. With `tuned`, settings are
    also fitted on one half, and measured on the other. Whenever the model has read tokens, `advance` is called with
    their number.

    Raises:
        QueryError: no token of the texts is predicted, or too few to tune; or k is above the number of entries.
        ModelError: the model is not the datastore's.
    """
    info = datastore.info
    mixing = replace(mixing, temperature=KnnLM(datastore, mixing).temperature)
    check_model(lm.model, info)
    readings = read_texts(lm, info, texts, folder, advance=advance)
    neighbourhoods = gather(datastore, readings, mixing, folder)
    searches = int(neighbourhoods.searched.sum())
    predicted = len(np.unique(readings.text))
    return Evaluation(
        index=info.name,
        model=info.model,
        texts=predicted,
        texts_left_out=len(texts) - predicted,
        settings=mixing,
        figures=figures(neighbourhoods, mixing),
        tokens_per_second=len(readings) / readings.seconds,
        lookups_per_second=searches / neighbourhoods.seconds if searches else None,
        tuned=tune(neighbourhoods, mixing) if tuned else None,
    )


def tune(neighbourhoods: Neighbourhoods, mixing: Mixing) -> Tuned:
    """Fit temperature and weights on one half, and measure the other.

    Settings start from those that were used to look up, with a temperature; all but the two stays as it is.

    Raises:
        QueryError: there are fewer than two tokens, or none of the half has a neighbour.
    """
    fitted_on, how = halves(neighbourhoods.readings)
    known = fitted_on & np.isfinite(neighbourhoods.nearest)
    if not known.any() or fitted_on.all():
        raise QueryError("there are too few tokens with neighbours to fit settings on one half of them; give more text")
    candidates = (mixing, *fit(neighbourhoods, known, mixing))
    fits = [Fit(settings, figures(neighbourhoods, settings, ~fitted_on)) for settings in candidates]
    return Tuned(how, int(fitted_on.sum()), *fits)


def figures(neighbourhoods: Neighbourhoods, mixing: Mixing, rows: Bools | None = None) -> Figures:
    """Measure what neighbours do to predictions, by settings with a temperature.

    The tokens that count are `rows`, bool of shape (n,), at least one; all by default.
    """
    rows = np.ones(len(neighbourhoods.readings), bool) if rows is None else rows
    without, mixed = neighbourhoods.model()[rows], neighbourhoods.mixed(mixing)[rows]
    searched, gated = neighbourhoods.searched[rows], neighbourhoods.gated[rows]
    bins = np.searchsorted(_PLACES, neighbourhoods.readings.place[rows], side="right") - 1
    names = [*(f"{low}-{high}" for low, high in pairwise(_PLACES)), f"{_PLACES[-1]}+"]
    members = {name: bins == number for number, name in enumerate(names)}
    change = mixed - without
    return Figures(
        *_quality(without, mixed),
        by_place={name: Quality(*_quality(without[some], mixed[some])) for name, some in members.items() if some.any()},
        helped=_share(change, change > 0),
        harmed=_share(change, change < 0),
        unchanged_percent=float((change == 0).mean() * 100),
        lookups=Lookups(int(searched.sum()), int(gated.sum()), int((~searched & ~gated).sum())),
    )


def _quality(without: Float64s, mixed: Float64s) -> tuple[int, float, float, float]:
    """Return the fields of `Quality` for ln p of the same tokens."""
    with np.errstate(over="ignore"):
        alone, together = float(np.exp(-without.mean())), float(np.exp(-mixed.mean()))
    return len(without), alone, together, together / alone


def _share(change: Float64s, where: Bools) -> Share:
    return Share(float(where.mean() * 100), float(np.median(change[where])) if where.any() else None)


def _plain(value: Any) -> Any:
    """Put `figures` among the fields of what has them, and None for numbers that JSON does not have."""
    if not isinstance(value, dict):
        return None if isinstance(value, float) and not math.isfinite(value) else value
    plain: dict[str, Any] = {}
    for name, part in value.items():
        plain |= _plain(part) if name == "figures" else {name: _plain(part)}
    return plain
