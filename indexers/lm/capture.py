"""Finding the keys in a causal language model, whatever its modules are called, and reading them while it runs."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from torch import Tensor, nn

    from mnemodex.schemas.sections import KeyKind

_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Structure:
    """The parts of a causal language model that have to do with its states.

    Attributes:
        body: gives the last hidden state, from which the model's own `forward` makes the logits.
        block: the last of the decoder blocks.
        feed_forward: whose input is what the up projection of the last block reads; None without a feed-forward part.
        head: the output layer.
    """

    body: nn.Module
    block: nn.Module
    feed_forward: nn.Module | None
    head: nn.Module


class Captured(Exception):  # noqa: N818 # nothing is wrong where it is raised
    """The keys of a forward pass are read, and the rest of it is not needed."""


class KeyCapture:
    """While it is entered, every forward pass of a causal language model of transformers leaves its keys in `last`.

    It looks for their place when it is made, by one pass over a few tokens; a model without such vectors is a
    `ModelError`. With `stop` a forward pass ends with its keys: it raises `Captured` instead of working out the rest.

    Attributes:
        last: of the last forward pass: shape (batch, tokens, dimension), in the model's dtype, on its device. For
            `lm_head_input` only of the tokens that the output layer was run for.
    """

    last: Tensor

    def __init__(self, model: nn.Module, kind: KeyKind, *, stop: bool = False) -> None:
        self.structure = parts = structure(model)
        self._kind = kind
        self._stop = stop
        self._handles: list[Any] = []
        self._rows: tuple[int, ...] = ()
        modules = {"ffn_input": parts.feed_forward, "lm_head_input": parts.head, "block_output": parts.block}
        module = modules.get(kind, parts.body)
        if module is None:
            raise ModelError(
                f"the last block of {type(model).__name__} has no feed-forward part, whose input would be the key: "
                "set `key: block_output` or `key: final_hidden`"
            )
        self._module = module

    def __enter__(self) -> KeyCapture:
        if self._kind in {"ffn_input", "lm_head_input"}:
            self._handles = [self._module.register_forward_pre_hook(self._keep_input, with_kwargs=True)]
        else:
            self._handles = [self._module.register_forward_hook(self._keep_output)]
        if self._kind == "ffn_input":
            self._handles.append(self.structure.block.register_forward_pre_hook(self._keep_rows, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep_rows(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._rows = next(_floats((args, named))).shape[:-1]

    def _keep_input(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._keep(next(_floats((args, named))))

    def _keep_output(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        # Blocks give a tensor or a tuple, models an output with the state as its first part.
        self._keep(next(_floats(output)))

    def _keep(self, keys: Tensor) -> None:
        self.last = keys.detach()
        if self._kind == "ffn_input":
            # OPT's layers are given the tokens of all rows in one.
            self.last = self.last.reshape(*self._rows, keys.shape[-1])
        if self._stop:
            raise Captured


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a module, by another one."""

    module: nn.Module
    caller: nn.Module
    args: tuple[Any, ...]
    named: dict[str, Any]


def structure(model: nn.Module) -> Structure:
    """Find the parts of a decoder-only language model of transformers by one forward pass; the model is left as it was.

    Names and order of declaration tell nothing: the feed-forward part of the last block is the largest of its parts
    that treat every token by itself, which is tried. That holds for blocks that run it in parallel with attention
    (GPT-J, Falcon), whose layers are their own children (OPT), and that have several mixers or small adapters
    (Falcon-H1, Gemma 3n). A model of another form is a `ModelError`.
    """
    import torch

    config: Any = model.config
    if config.is_encoder_decoder:
        raise ModelError(
            f"{type(model).__name__} has an encoder: keys are those of a decoder-only language model; name one"
        )
    with evaluating(model), torch.no_grad():
        calls = _trace(model)
        block = _blocks(model, calls)[-1]
        body = next(call.module for call in calls if call.caller is model and block in call.module.modules())
        return Structure(body, block, _feed_forward(calls, block), _head(model, calls))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Turn dropout off, and every module back to its former mode afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _floats(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of floating-point numbers among arguments or outputs, in order."""
    if hasattr(value, "is_floating_point"):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (dict, tuple, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _floats(part)


def _trace(model: nn.Module) -> list[_Call]:
    """Return the calls of all modules, in the order in which they begin."""
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
    # The first ids are marks, and padding is a vector of zeros, from which nothing is learnt.
    tokens = torch.arange(_TOKENS, 2 * _TOKENS, device=next(model.parameters()).device)[None]
    try:
        # Not `model(...)`: hooks that others have put on the model itself are none of this.
        model.forward(input_ids=tokens, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _blocks(model: nn.Module, calls: Sequence[_Call]) -> nn.ModuleList:
    """Return the list of modules, all of them called and one after the other, that holds most of the weights."""
    from torch import nn

    callers = {id(call.module): call.caller for call in calls}
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part)]
    blocks = max((part for part in lists if all(id(block) in callers for block in part)), key=_size, default=None)
    if blocks is not None:
        stack = {id(block) for block in blocks}
        siblings = [call.module for call in calls if call.caller is callers[id(blocks[0])] and _matrices(call.module)]
        numbers = [number for number, module in enumerate(siblings) if id(module) in stack]
        if numbers == list(range(numbers[0], numbers[0] + len(blocks))):
            return blocks
    raise ModelError(
        f"{type(model).__name__} is not built of decoder blocks that follow each other; choose another model"
    )


def _feed_forward(calls: Sequence[_Call], block: nn.Module) -> nn.Module | None:
    """Return the first layer or the whole of the largest part of a block that treats every token by itself."""
    parts: list[list[_Call]] = []
    for call in calls:
        if call.caller is block and _matrices(call.module) and _by_itself(call):
            # Layers that follow each other make up one part: up and down projection.
            if parts and _matrices(call.module) == 1 and all(_matrices(other.module) == 1 for other in parts[-1]):
                parts[-1].append(call)
            else:
                parts.append([call])
    layered = [part for part in parts if sum(_matrices(call.module) for call in part) > 1]
    if not layered:
        return None
    return max(reversed(layered), key=lambda part: sum(_size(call.module) for call in part))[0].module


def _by_itself(call: _Call) -> bool:
    """Return whether what a module gives for the last token stays when it is given something else for the first."""
    import torch

    states = next(_floats((call.args, call.named)), None)
    if states is None or states.numel() != _TOKENS * states.shape[-1]:
        return False
    outputs: list[Tensor] = []
    for sign in (1, -1):
        changed = states.clone()
        rows = changed.view(_TOKENS, -1)
        rows[0] = sign * rows[1]
        args = tuple(changed if part is states else part for part in call.args)
        named = {name: changed if part is states else part for name, part in call.named.items()}
        outputs.append(next(_floats(call.module(*args, **named))).reshape(_TOKENS, -1)[-1].float())
    # Sums of other rows may be taken in another order, where tokens share experts.
    bound = float(outputs[0].abs().max()) * 8 * torch.finfo(states.dtype).eps
    # NaN passes here; who reads the keys finds it.
    return not float((outputs[0] - outputs[1]).abs().max()) > bound


def _head(model: Any, calls: Sequence[_Call]) -> nn.Module:
    head: nn.Module | None = model.get_output_embeddings()
    if head is None or all(call.module is not head for call in calls):
        raise ModelError(
            f"{type(model).__name__} has no output layer of its own: it is no language model; choose another"
        )
    return head


def _matrices(module: nn.Module) -> int:
    return sum(parameter.dim() > 1 for parameter in module.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
