"""Perplexity of a language model over texts, without a memory and with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.readers.knn_lm.check import check_model
from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm_report.figures import Figures, figures
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import gather
from mnemodex.retrievers.readers.knn_lm_report.reading import read_texts
from mnemodex.retrievers.readers.knn_lm_report.settings import to_json
from mnemodex.retrievers.readers.knn_lm_report.tuning import Tuned, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import Datastore
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation over texts measured.

    Attributes:
        index: the datastore's name.
        model: the language model's.
        texts: how many texts have a predicted token.
        left_out: how many have none.
        mixing: the settings, with the temperature.
        figures: over all predicted tokens.
        tuned: what settings fitted on one half do to the other, where that was asked for.
        tokens_per_second: of the model.
        lookups_per_second: of the datastore; None where none was made.
    """

    index: str
    model: str
    texts: int
    left_out: int
    mixing: Mixing
    figures: Figures
    tuned: Tuned | None
    tokens_per_second: float
    lookups_per_second: float | None

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "index": self.index,
            "model": self.model,
            "texts": self.texts,
            "texts_left_out": self.left_out,
            "settings": to_json(self.mixing),
            **self.figures.to_json(),
            "tokens_per_second": self.tokens_per_second,
            "lookups_per_second": self.lookups_per_second,
            **({"tuned": self.tuned.to_json()} if self.tuned else {}),
        }


def evaluate(
    datastore: Datastore,
    lm: LanguageModel,
    texts: Sequence[NDArray[np.int32]],
    mixing: Mixing,
    folder: Path,
    *,
    tuned: bool = False,
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Read texts with a datastore's model, and mix what its neighbours say.

    Args:
        datastore: the memory.
        lm: its model.
        texts: the tokens of each.
        mixing: how they are mixed.
        folder: for what is too large for memory: keys and neighbours of all tokens.
        tuned: also fit settings on one half, and measure them on the other.
        advance: called with a number of tokens whenever the model has read them.

    Raises:
        QueryError: no token of the texts is predicted, or too few to tune; or k is above the number of entries.
        ModelError: the model is not the datastore's.
    """
    info = datastore.info
    mixing = replace(mixing, temperature=KnnLM(datastore, mixing).temperature)
    check_model(lm.model, info)
    readings = read_texts(lm, info, texts, folder, advance=advance)
    found = gather(datastore, readings, mixing, folder)
    read = len(np.unique(readings.text))
    return Evaluation(
        index=info.name,
        model=info.model,
        texts=read,
        left_out=len(texts) - read,
        mixing=mixing,
        figures=figures(found, found.mixed(mixing)),
        tuned=tune(found, mixing) if tuned else None,
        tokens_per_second=len(readings) / readings.seconds,
        lookups_per_second=int(found.searched.sum()) / found.seconds if found.searched.any() else None,
    )
