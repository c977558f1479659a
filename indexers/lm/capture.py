"""Reading keys while a model runs, by a hook on one of its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.lm.structure import blocks, last_feed_forward

if TYPE_CHECKING:
    from types import TracebackType

    from torch import Tensor, nn

    from mnemodex.schemas.lm import KeyKind


class KeyCapture:
    """While it is entered, every forward pass of the model leaves its keys in `last`.

    Args:
        model: a causal language model of transformers.
        kind: which vectors.

    Attributes:
        last: of the last forward pass: shape (batch, tokens, dimension), in the model's dtype, on its device. For
            `lm_head_input` only of the tokens that the output layer was run for.

    Raises:
        ModelError: the model has no such vectors.
    """

    last: Tensor

    def __init__(self, model: nn.Module, kind: KeyKind) -> None:
        self._model: Any = model
        self._kind = kind
        self._handle: Any = None

    def __enter__(self) -> KeyCapture:
        if self._kind == "ffn_input":
            self._handle = last_feed_forward(self._model).register_forward_pre_hook(self._keep_input)
        elif self._kind == "lm_head_input":
            self._handle = self._model.get_output_embeddings().register_forward_pre_hook(self._keep_input)
        elif self._kind == "block_output":
            self._handle = blocks(self._model)[-1].register_forward_hook(self._keep_output)
        else:
            self._handle = self._model.base_model.register_forward_hook(self._keep_output)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _keep_input(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self.last = given[0].detach()

    def _keep_output(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        # Blocks give a tensor or a tuple, models an output with the state as its first part.
        first = output[0] if not hasattr(output, "shape") else output
        self.last = first.detach()
