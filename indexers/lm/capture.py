"""Reading keys while a model runs, by a hook on one of its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.indexers.lm.structure import floats, structure
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from types import TracebackType

    from torch import Tensor, nn

    from mnemodex.indexers.lm.structure import Structure
    from mnemodex.schemas.lm import KeyKind


class Captured(Exception):  # noqa: N818 # nothing is wrong where it is raised
    """A forward pass has come as far as it was to."""


class KeyCapture:
    """While it is entered, every forward pass of the model leaves its keys in `last`.

    It looks for their place when it is made, by one pass over a few tokens.

    Args:
        model: a causal language model of transformers.
        kind: which vectors.
        stop: whether a forward pass ends with its keys: it raises `Captured` instead of working out the rest.

    Attributes:
        last: of the last forward pass: shape (batch, tokens, dimension), in the model's dtype, on its device. For
            `lm_head_input` only of the tokens that the output layer was run for.
        structure: the parts of the model.

    Raises:
        ModelError: the model has no such vectors.
    """

    last: Tensor
    structure: Structure

    def __init__(self, model: nn.Module, kind: KeyKind, *, stop: bool = False) -> None:
        self.structure = parts = structure(model)
        self._kind = kind
        self._stop = stop
        self._handles: list[Any] = []
        self._rows: tuple[int, ...] = ()
        if kind == "ffn_input":
            if parts.feed_forward is None:
                msg = (
                    f"the last block of {type(model).__name__} has no feed-forward part, whose input would be the key: "
                    "set `key: block_output` or `key: final_hidden`"
                )
                raise ModelError(msg)
            self._place = parts.feed_forward
        elif kind == "lm_head_input":
            self._place = parts.head
        else:
            self._place = parts.block if kind == "block_output" else parts.body

    def __enter__(self) -> KeyCapture:
        if self._kind in {"ffn_input", "lm_head_input"}:
            self._handles = [self._place.register_forward_pre_hook(self._keep_input, with_kwargs=True)]
        else:
            self._handles = [self._place.register_forward_hook(self._keep_output)]
        if self._kind == "ffn_input":
            self._handles.append(self.structure.block.register_forward_pre_hook(self._keep_rows, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep_rows(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._rows = next(floats((given, named))).shape[:-1]

    def _keep_input(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._keep(next(floats((given, named))))

    def _keep_output(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        # Blocks give a tensor or a tuple, models an output with the state as its first part.
        self._keep(next(floats(output)))

    def _keep(self, found: Tensor) -> None:
        self.last = found.detach()
        if self._kind == "ffn_input":
            # OPT's layers are given the tokens of all rows in one.
            self.last = self.last.reshape(*self._rows, found.shape[-1])
        if self._stop:
            raise Captured
