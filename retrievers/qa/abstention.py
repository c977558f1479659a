"""Answers that an index of pairs declines to give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnemodex.schemas.manifest import Abstention, Stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.qa.predictions import Prediction


class Calibrated(Stats):
    """The calibration of an index."""

    abstention: Abstention


def decline(predictions: Sequence[Prediction], threshold: float) -> list[Prediction]:
    """Return predictions, those below a threshold of confidence without their answer."""
    return [
        replace(prediction, answer=None, declined=prediction.answer)
        if prediction.answer is not None and prediction.confidence < threshold
        else prediction
        for prediction in predictions
    ]
