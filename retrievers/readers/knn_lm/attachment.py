"""The hooks that a model has while a KnnLM is attached to it, and the forward passes that they see."""

from __future__ import annotations

import inspect
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from mnemodex.indexers.arrays import Bools, Int64s
    from mnemodex.retrievers.readers.knn_lm.pointers import PointerStore
    from mnemodex.schemas.sections import KeyKind

_ATTACHED: weakref.WeakSet[Any] = weakref.WeakSet()
"""Models that a KnnLM is attached to."""


@dataclass(frozen=True)
class Forward:
    """A forward pass of a model, by the places that logits were made for.

    Attributes:
        logits: shape (batch, places, vocabulary).
        keys: shape (batch, places, dimension).
        positions: of the places among the tokens that were read, int64 of shape (places,), in the logits' order.
        real: which places are of tokens and not of padding, bool of shape (batch, places).
        length: tokens of each sequence that were read.
        tokens: those, int64 of shape (batch, length); None where they are not known.
        cache: of keys and values that the model filled; None without one.
    """

    logits: Tensor
    keys: Tensor
    positions: Int64s
    real: Bools
    length: int
    tokens: Int64s | None
    cache: Any

    def last(self) -> Forward:
        """Return the last place of each sequence alone."""
        parts = {name: getattr(self, name)[:, -1:] for name in ("logits", "keys", "real")}
        return replace(self, positions=self.positions[-1:], **parts)


def check_free(model: Any) -> None:
    """Refuse a model that a KnnLM is attached to, by a ModelError."""
    if model in _ATTACHED:
        raise ModelError(f"a KnnLM is attached to this {type(model).__name__} already; leave its `with` block first")


@contextmanager
def attached(
    model: Any, kind: KeyKind, pointers: PointerStore, seen: Callable[[Forward], Tensor | None]
) -> Iterator[None]:
    """Within the block, `seen` is given every forward pass of a model, without gradients, before its caller.

    The logits that it returns, if any, replace the model's and make its loss. The model is a causal language model of
    transformers; pointers are reordered with the beams of `generate()`.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    capture = KeyCapture(model, kind)
    own = getattr(model, "_reorder_cache", None)
    as_tuple = False

    def before(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        # The hook after needs an output with names, whatever the caller wants.
        nonlocal as_tuple
        wish = named.get("return_dict")
        as_tuple = not (model.config.return_dict if wish is None else wish)
        return positional, {**named, "return_dict": True}

    def after(module: Any, positional: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        import torch

        arguments = {**dict(zip(names, positional, strict=False)), **named}
        with torch.no_grad():
            logits = seen(_forward(names, arguments, output, capture.last, kind))
            if logits is not None:
                output.logits = logits
                if arguments.get("labels") is not None:
                    # As transformers' models do: what `forward` has no name for is the loss function's.
                    rest = {name: value for name, value in arguments.items() if name not in (*names, "return_dict")}
                    given = {"logits": logits, "labels": arguments["labels"], "vocab_size": logits.shape[-1]}
                    output.loss = model.loss_function(**given, **rest)
        return output.to_tuple() if as_tuple else output

    def reorder(cache: Any, beams: Tensor) -> Any:
        pointers.reorder(cache, beams.cpu().numpy())
        if own is not None:
            return own(cache, beams)
        cache.reorder_cache(beams)
        return cache

    with ExitStack() as exits:
        _ATTACHED.add(model)
        exits.callback(_ATTACHED.discard, model)
        exits.enter_context(capture)
        exits.callback(model.register_forward_pre_hook(before, with_kwargs=True).remove)
        exits.callback(model.register_forward_hook(after, with_kwargs=True).remove)
        # `generate()` calls it where a model has one.
        model._reorder_cache = reorder
        exits.callback(delattr, model, "_reorder_cache")
        yield


def _forward(names: list[str], arguments: dict[str, Any], output: Any, captured: Tensor, kind: KeyKind) -> Forward:
    """Collect what hooks see of a pass: its arguments by name, its output, and what `KeyCapture` has of it."""
    import torch

    ids = arguments.get("input_ids")
    length = int((arguments["inputs_embeds"] if ids is None else ids).shape[1])
    positions = _positions(arguments.get("logits_to_keep", 0) if "logits_to_keep" in names else 0, length)
    # The output layer is given the places already.
    keys = captured if kind == "lm_head_input" else captured[:, torch.from_numpy(positions).to(captured.device)]
    shape = tuple(output.logits.shape[:2])
    if keys.shape[:2] != shape:
        shapes = f"logits of shape {tuple(output.logits.shape)}, but keys of shape {tuple(captured.shape)}"
        raise ModelError(
            f"the model gives {shapes}: it has to read one text in one sequence, as a datastore's model must"
        )
    mask: Any = arguments.get("attention_mask")
    real = np.ones(shape, bool)
    # Where a cache is compiled for, masks of attention are made beforehand: they do not show the padding.
    if getattr(mask, "ndim", None) == 2:
        real = mask[:, -length:].cpu().numpy()[:, positions] != 0
    caches = [
        part
        for name in ("past_key_values", "cache_params")
        for part in (arguments.get(name), getattr(output, name, None))
    ]
    return Forward(
        logits=output.logits,
        keys=keys,
        positions=positions,
        real=real,
        length=length,
        tokens=None if ids is None else ids.cpu().numpy(),
        cache=next((cache for cache in caches if cache is not None), None),
    )


def _positions(keep: Any, length: int) -> Int64s:
    """Return the positions that `logits_to_keep` names, of so many tokens."""
    every = np.arange(length)
    if isinstance(keep, int):
        return every[-keep:] if keep else every
    if np.ndim(keep) != 1 or not hasattr(keep, "cpu"):
        wanted = "a number, or positions of shape (places,) for all sequences"
        raise QueryError(f"logits_to_keep is {keep!r}; while a KnnLM is attached give {wanted}")
    positions: Int64s = every[keep.cpu().numpy()]
    return positions
