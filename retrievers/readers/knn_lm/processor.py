"""The mixer as a logits processor of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import LogitsProcessor

    from mnemodex.retrievers.readers.knn_lm.forward import Forward
    from mnemodex.retrievers.readers.knn_lm.mixer import Mixer


def make_processor(mixer: Mixer) -> tuple[LogitsProcessor, Callable[[Forward, Tensor], None]]:
    """A logits processor, and what has to see the forward passes of its model."""
    import torch
    from transformers import LogitsProcessor

    class KnnLogitsProcessor(LogitsProcessor):
        """Adds to scores what mixing has changed in the model's probabilities of the next token."""

        step: tuple[Tensor, Tensor] | None = None
        """Logits and mixed log-probabilities of the last forward pass: shape (batch, vocabulary)."""

        def seen(self, forward: Forward, keys: Tensor) -> None:
            logits = forward.output.logits[:, -1].to(copy=True, dtype=torch.float32)
            self.step = logits, mixer.mixed(forward, keys, last=True)[:, 0]

        def __call__(self, input_ids: torch.LongTensor, scores: Tensor) -> Tensor:
            if self.step is None or self.step[0].shape != scores.shape:
                msg = (
                    "a step of decoding came without a forward pass of the model of its own, as in assisted "
                    "generation; use `with knn.attach(model):` there"
                )
                raise QueryError(msg)
            logits, mixed = (part.to(scores.device) for part in self.step)
            self.step = None
            # To the bit what `attach` gives, where no other processor was at work.
            if torch.equal(scores, logits):
                return mixed.to(scores.dtype)
            # What others forbid stays forbidden; beams come normalised, other scores as logits.
            shift = mixed.double() - torch.log_softmax(logits.double(), dim=-1)
            return torch.where(scores > -torch.inf, scores + shift, scores).to(scores.dtype)

    processor = KnnLogitsProcessor()
    return processor, processor.seen
