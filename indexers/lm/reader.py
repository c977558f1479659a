"""Running a model over windows of tokens, for the keys, surprisals and entropies of what is predicted in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.batching import length_buckets
from mnemodex.indexers.lm.capture import KeyCapture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from mnemodex.schemas.lm import KeyKind


@dataclass(frozen=True, slots=True)
class States:
    """What a model thinks at n places of a text, in front of the token that comes there.

    Attributes:
        keys: shape (n, dimension), float32.
        surprisal: -ln p of the token that came, in nats, float32 of shape (n,); None where it was not asked for.
        entropy: of the model's distribution, in nats, float32 of shape (n,); None where it was not asked for.
    """

    keys: NDArray[np.float32]
    surprisal: NDArray[np.float32] | None
    entropy: NDArray[np.float32] | None


class StateReader:
    """Reads windows with a causal language model.

    Args:
        model: of transformers, in evaluation mode.
        key: which vector of it.
        surprisal: whether to tell how surprising each predicted token is, which takes the model's output layer.
        entropy: whether to tell how uncertain the model was, which takes it too.

    Attributes:
        dimension: of the keys.

    Raises:
        ModelError: the model has no such vectors.
    """

    dimension: int

    def __init__(self, model: nn.Module, key: KeyKind, *, surprisal: bool = True, entropy: bool = False) -> None:
        self._model: Any = model
        self._key = key
        self._surprisal = surprisal
        self._entropy = entropy
        self.dimension = int(self._model.config.get_text_config().hidden_size)

    def read(self, tokens: Sequence[NDArray[np.int32]], predicted: NDArray[np.int64]) -> Iterator[tuple[int, States]]:
        """Read windows, those of like length together.

        Args:
            tokens: of each window, those that stand before it included; int32 of shape (t,), at least 2.
            predicted: how many of its last tokens are predicted, int64 of shape (windows,), 1 to t - 1.

        Yields:
            The number of a window, in no order, and the states in front of its predicted tokens.
        """
        import torch

        lengths = np.array([len(window) - 1 for window in tokens], np.int64)
        device = next(self._model.parameters()).device
        with KeyCapture(self._model, self._key) as capture, torch.inference_mode():
            for bucket in length_buckets(lengths, max_tokens=2048, min_rows=1):
                padded = np.zeros((len(bucket), int(lengths[bucket].max()) + 1), np.int64)
                for row, number in enumerate(bucket):
                    padded[row, : len(tokens[number])] = tokens[number]
                ids = torch.from_numpy(padded).to(device)
                logits = self._model(input_ids=ids[:, :-1], use_cache=False).logits.float()
                for row, number in enumerate(bucket):
                    here = slice(int(lengths[number] - predicted[number]), int(lengths[number]))
                    log = torch.log_softmax(logits[row, here], dim=-1)
                    came = ids[row, 1:][here, None]
                    surprisal = -log.gather(1, came)[:, 0].cpu().numpy() if self._surprisal else None
                    entropy = -(log.exp() * log).sum(-1).cpu().numpy() if self._entropy else None
                    yield int(number), States(capture.last[row, here].float().cpu().numpy(), surprisal, entropy)
