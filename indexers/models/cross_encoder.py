"""Models that read two texts at once and say how well they go together: sentence-transformers' cross-encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.forks import claim_threads
from mnemodex.indexers.models.language_model import choose_device, silence
from mnemodex.indexers.models.locate import locate, refuse_pickled
from mnemodex.schemas.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s

_BATCH = 64


class CrossEncoder:
    """A cross-encoder of sentence-transformers, on one device.

    Args:
        name: a folder, a hub id, or `pkg:MODULE/FOLDER`; weights are safetensors.

    Raises:
        ModelError: there is no such model, or it does not give two texts one score.
    """

    def __init__(self, name: str) -> None:
        import sentence_transformers
        import torch

        path = locate(name)
        device, dtype = choose_device()
        try:
            refuse_pickled(path)
            with silence():
                self._model: Any = sentence_transformers.CrossEncoder(
                    str(path),
                    device=str(device),
                    # Others give logits, whose scale is not that of cosines.
                    activation_fn=torch.nn.Sigmoid(),
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"dtype": dtype, "use_safetensors": True},
                )
        except MissingExtraError:
            raise
        except Exception as error:
            # Libraries raise what they like at a damaged or strange model.
            raise ModelError(f"model {name!r} ({path}) cannot be loaded as a cross-encoder: {error}") from error
        made_for = self._model.config.architectures
        if made_for and type(self._model[0].model).__name__ not in made_for:
            # An encoder, for example: what gives the score would have random weights.
            raise ModelError(
                f"model {name!r} is a {made_for[0]}, whose weights give two texts no score; name a cross-encoder"
            )
        if self._model.num_labels != 1:
            raise ModelError(
                f"model {name!r} gives two texts {self._model.num_labels} scores; name a cross-encoder that gives one"
            )

    def score(self, pairs: Sequence[tuple[str, str]]) -> Float32s:
        """Return how well the texts of each pair go together, from 0 to 1, float32 of shape (pairs,)."""
        if not pairs:
            return np.zeros(0, np.float32)
        claim_threads()
        return np.asarray(self._model.predict(list(pairs), batch_size=_BATCH, show_progress_bar=False), np.float32)
