"""Where in a causal language model the keys are: found by running it, whatever its modules are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Structure:
    """The parts of a causal language model that have to do with its states.

    Attributes:
        body: gives the last hidden state, from which the model's own `forward` makes the logits.
        block: the last of the decoder blocks.
        feed_forward: whose input is what the up projection of the last block reads; None where that block has no
            feed-forward part.
        head: the output layer.
    """

    body: nn.Module
    block: nn.Module
    feed_forward: nn.Module | None
    head: nn.Module


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module was called with, and by which."""

    module: nn.Module
    caller: nn.Module
    args: tuple[Any, ...]
    named: dict[str, Any]


def structure(model: nn.Module) -> Structure:
    """Look at one forward pass over a few tokens; the model is left as it was.

    Names and order of declaration tell nothing: the feed-forward part of the last block is the largest of its parts
    that treat every token by itself, which is tried. That holds for blocks that run it beside attention (GPT-J,
    Falcon), whose layers are their own children (OPT), and that have several mixers or small adapters (Falcon-H1,
    Gemma 3n).

    Args:
        model: a decoder-only language model of transformers.

    Raises:
        ModelError: it is none, or not built of a list of blocks.
    """
    import torch

    config: Any = model.config
    if config.is_encoder_decoder:
        msg = f"{type(model).__name__} has an encoder: keys are those of a decoder-only language model; name one"
        raise ModelError(msg)
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            calls = _trace(model)
            block = _blocks(model, calls)[-1]
            body = next(call.module for call in calls if call.caller is model and _within(block, call.module))
            return Structure(body, block, _feed_forward(calls, block), _head(model, calls))
    finally:
        for part, training in modes:
            part.training = training


def floats(given: Any) -> Iterator[Tensor]:
    """The tensors of numbers that are not whole among arguments or outputs, in order."""
    if hasattr(given, "is_floating_point"):
        if given.is_floating_point():
            yield given
    elif isinstance(given, dict):
        for part in given.values():
            yield from floats(part)
    elif isinstance(given, (tuple, list)):
        for part in given:
            yield from floats(part)


def _trace(model: nn.Module) -> list[_Call]:
    """The calls of all modules, in the order in which they begin."""
    import torch

    calls: list[_Call] = []
    running = [model]

    def enter(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.append(_Call(module, running[-1], args, named))
        running.append(module)

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        running.pop()

    hooks = []
    for part in model.modules():
        if part is not model:
            hooks += [part.register_forward_pre_hook(enter, with_kwargs=True), part.register_forward_hook(leave)]
    # The first ids are marks, and padding is a vector of zeros, which tells nothing.
    tokens = torch.arange(_TOKENS, 2 * _TOKENS, device=next(model.parameters()).device)[None]
    try:
        # Not `model(...)`: hooks that others have put on the model itself are none of this.
        model.forward(input_ids=tokens, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _blocks(model: nn.Module, calls: Sequence[_Call]) -> nn.ModuleList:
    """The list of modules, all of them called and one after the other, that holds most of the weights."""
    from torch import nn

    callers = {id(call.module): call.caller for call in calls}
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part)]
    found = max((part for part in lists if all(id(block) in callers for block in part)), key=_size, default=None)
    if found is not None:
        stack = {id(block) for block in found}
        beside = [call.module for call in calls if call.caller is callers[id(found[0])] and _matrices(call.module)]
        places = [place for place, module in enumerate(beside) if id(module) in stack]
        if places == list(range(places[0], places[0] + len(found))):
            return found
    msg = f"{type(model).__name__} is not built of decoder blocks that follow each other; choose another model"
    raise ModelError(msg)


def _feed_forward(calls: Sequence[_Call], block: nn.Module) -> nn.Module | None:
    """The first layer or the whole of the largest part of a block that treats every token by itself."""
    parts: list[list[_Call]] = []
    for call in calls:
        if call.caller is block and _matrices(call.module) and _by_itself(call):
            # Layers that follow each other make up one part: up and down projection.
            if parts and _matrices(call.module) == 1 and all(_matrices(other.module) == 1 for other in parts[-1]):
                parts[-1].append(call)
            else:
                parts.append([call])
    whole = [part for part in parts if sum(_matrices(call.module) for call in part) > 1]
    if not whole:
        return None
    return max(reversed(whole), key=lambda part: sum(_size(call.module) for call in part))[0].module


def _by_itself(call: _Call) -> bool:
    """Whether what a module gives for the last token stays when it is given something else for the first."""
    import torch

    given = next(floats((call.args, call.named)), None)
    if given is None or given.numel() != _TOKENS * given.shape[-1]:
        return False
    found: list[Tensor] = []
    for sign in (1, -1):
        changed = given.clone()
        rows = changed.view(_TOKENS, -1)
        rows[0] = sign * rows[1]
        args = tuple(changed if part is given else part for part in call.args)
        named = {name: changed if part is given else part for name, part in call.named.items()}
        found.append(next(floats(call.module(*args, **named))).reshape(_TOKENS, -1)[-1].float())
    # Sums of other rows may be taken in another order, where tokens share experts.
    bound = float(found[0].abs().max()) * 8 * torch.finfo(given.dtype).eps
    # Weights that are no numbers tell nothing here; who reads the keys finds them.
    return not float((found[0] - found[1]).abs().max()) > bound


def _head(model: Any, calls: Sequence[_Call]) -> nn.Module:
    """The output layer."""
    head: nn.Module | None = model.get_output_embeddings()
    if head is None or all(call.module is not head for call in calls):
        msg = f"{type(model).__name__} has no output layer of its own: it is no language model; choose another"
        raise ModelError(msg)
    return head


def _within(inner: nn.Module, outer: nn.Module) -> bool:
    return any(part is inner for part in outer.modules())


def _matrices(module: nn.Module) -> int:
    return sum(parameter.dim() > 1 for parameter in module.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
