"""The hooks that a model has while a KnnLM is attached to it."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.retrievers.readers.knn_lm.forward import Forward, Signature
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from torch import Tensor

    from mnemodex.retrievers.readers.knn_lm.mixer import Mixer
    from mnemodex.schemas.lm import KeyKind

_TAKEN: weakref.WeakSet[Any] = weakref.WeakSet()
"""Models that a KnnLM is attached to."""


class Attachment(AbstractContextManager["Attachment"]):
    """While it is entered, a function sees every forward pass of a model before its caller does.

    Args:
        model: a causal language model of transformers.
        kind: the keys to read.
        mixer: whose pointers follow the beams of `generate()`.
        seen: given the pass and the keys of its places; it may change the output. Called without gradients.
    """

    def __init__(self, model: Any, kind: KeyKind, mixer: Mixer, seen: Callable[[Forward, Tensor], None]) -> None:
        self._model = model
        self._mixer = mixer
        self._seen = seen
        self._signature = Signature(model)
        self._kind = kind
        self._capture = KeyCapture(model, kind)
        self._as_tuple = False
        self._exits = ExitStack()

    def __enter__(self) -> Attachment:
        model = self._model
        with ExitStack() as exits:
            _TAKEN.add(model)
            exits.callback(_TAKEN.discard, model)
            exits.enter_context(self._capture)
            exits.callback(model.register_forward_pre_hook(self._before, with_kwargs=True).remove)
            exits.callback(model.register_forward_hook(self._after, with_kwargs=True).remove)
            exits.enter_context(_reordering(model, self._mixer))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exits.close()

    def _before(self, module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        """Have an output with names, whatever the caller wants."""
        wish = named.get("return_dict")
        self._as_tuple = not (self._model.config.return_dict if wish is None else wish)
        return positional, {**named, "return_dict": True}

    def _after(self, module: Any, positional: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        import torch

        forward = Forward(self._signature.bind(positional, named), output, "logits_to_keep" in self._signature.names)
        with torch.no_grad():
            self._seen(forward, forward.keys(self._capture.last, self._kind))
        return output.to_tuple() if self._as_tuple else output

    def loss(self, forward: Forward) -> Tensor | None:
        """The model's own loss of a pass's logits as they are by now; None where no labels were given."""
        labels = forward.given.get("labels")
        if labels is None:
            return None
        logits = forward.output.logits
        # As transformers' models do: what `forward` has no name for is the loss function's.
        rest = {name: value for name, value in forward.given.items() if name not in self._signature.names}
        rest.pop("return_dict", None)
        loss: Tensor = self._model.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **rest)
        return loss


def check_free(model: Any) -> None:
    """See that no KnnLM is attached to a model.

    Raises:
        ModelError: one is.
    """
    if model in _TAKEN:
        msg = f"a KnnLM is attached to this {type(model).__name__} already; leave its `with` block first"
        raise ModelError(msg)


class _reordering(AbstractContextManager[None]):  # noqa: N801 # used like a function
    """Have the mixer's pointers follow beams: `generate()` calls a model's `_reorder_cache` where there is one."""

    def __init__(self, model: Any, mixer: Mixer) -> None:
        self._model = model
        self._mixer = mixer

    def __enter__(self) -> None:
        own = getattr(self._model, "_reorder_cache", None)

        def reorder(cache: Any, beams: Tensor) -> Any:
            self._mixer.trails.reorder(cache, beams.cpu().numpy())
            if own is not None:
                return own(cache, beams)
            cache.reorder_cache(beams)
            return cache

        self._model._reorder_cache = reorder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._model._reorder_cache
