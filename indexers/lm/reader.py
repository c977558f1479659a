"""Overlapping windows over texts, and running a model over them for keys, surprisals and entropies.

Every token is predicted once, with tokens before it to read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.lm.capture import Captured, KeyCapture
from mnemodex.indexers.text import length_buckets, one_ahead, pad
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from mnemodex.indexers.arrays import Bools, Float16s, Float32s, Int32s, Int64s
    from mnemodex.schemas.sections import KeyKind

_CPU_TOKENS = 1024
_GPU_TOKENS = 16384
"""Padded tokens a batch."""

_LOGITS = 1 << 24
"""Logits at a time: a float32 matrix of all tokens by all words would not fit in memory."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The n windows of some texts, in the texts' order; all arrays are int64 of shape (n,).

    A model is given the prefix and the tokens `start:stop` of the text number `text`: it reads all of them but the
    last, and predicts those from `first` on; those before are only read.
    """

    text: Int64s
    start: Int64s
    first: Int64s
    stop: Int64s

    def __len__(self) -> int:
        return len(self.text)

    @property
    def predicted(self) -> Int64s:
        """How many tokens are predicted in each window."""
        return self.stop - self.first


def windows(lengths: Int64s, *, window: int, overlap: int, prefix: int) -> Windows:
    """Cut texts into windows by their lengths in tokens; a prefix that leaves no room is a `ModelError`.

    Args:
        lengths: tokens of each text, int64 of shape (texts,).
        window: tokens that are read at once, the prefix among them.
        overlap: of those, how many the window before has read already, the prefix among them too; less than `window`.
            So every token has at least as many before it, where its text has them.
        prefix: tokens that come before every window. With none, the first token of a text is read but not predicted.
    """
    if prefix >= window:
        raise ModelError(
            f"the model's tokenizer puts {prefix} tokens before every text, and `window` is {window}: make it larger"
        )
    # The last token that is predicted in a window is not read there, so a window has one more than it reads.
    room = window - prefix + 1
    step = window - max(overlap, prefix)
    opening = 0 if prefix else 1
    more = np.maximum(0, -(-(lengths - room) // step))
    counts = np.where(lengths > opening, 1 + more, 0)
    text = np.repeat(np.arange(len(lengths), dtype=np.int64), counts)
    number = np.arange(len(text), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    start = number * step
    first = np.where(number > 0, start + room - step, opening)
    return Windows(text, start, first, np.minimum(start + room, lengths[text]))


@dataclass(frozen=True, slots=True)
class States:
    """The states of a model at n places of a text, in front of the token that comes there.

    Attributes:
        keys: shape (n, dimension), float16, as they are stored; a number that does not fit is infinite.
        surprisal: -ln p of the token that came, in nats, float32 of shape (n,); None where it was not asked for.
        entropy: of the model's distribution, in nats, float32 of shape (n,); None where it was not asked for.
    """

    keys: Float16s
    surprisal: Float32s | None
    entropy: Float32s | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """The states of some windows, one window's after the other's, on their way from the device."""

    windows: Int64s
    counts: Int64s
    states: tuple[Tensor, Tensor | None, Tensor | None]
    done: Any


class StateReader:
    """Reads windows with a causal language model of transformers, in evaluation mode.

    A key that the model does not have is a `ModelError`. Surprisals and entropies take the model's output layer.
    """

    def __init__(self, model: nn.Module, key: KeyKind, *, surprisal: bool = True, entropy: bool = False) -> None:
        import torch

        self._model: Any = model
        self._key = key
        self._surprisal = surprisal
        self._entropy = entropy
        self._capture = KeyCapture(model, key, stop=not (surprisal or entropy))
        self._body = self._capture.structure.body
        self._device = next(model.parameters()).device
        self._gpu = self._device.type == "cuda"
        self._max_tokens = _GPU_TOKENS if self._gpu else _CPU_TOKENS
        ids = torch.zeros((1, 2), dtype=torch.int64)
        self.dimension = int(self._states(ids, torch.zeros(1, dtype=torch.int64))[0].shape[1])

    def read(
        self, tokens: Sequence[Int32s], predicted: Int64s, *, done: Bools | None = None
    ) -> Iterator[tuple[int, States]]:
        """Yield the number of each window, in no order, and the states in front of its predicted tokens.

        Args:
            tokens: of each window, those that come before it included; int32 of shape (t,), at least 2.
            predicted: how many of its last tokens are predicted, int64 of shape (windows,), 1 to t - 1.
            done: windows whose states are known, bool of shape (windows,). Batches are those of all windows, so that
                states are the same after an interruption; a batch of which all are known is not read.
        """
        lengths = np.array([len(window) - 1 for window in tokens], np.int64)
        buckets = length_buckets(lengths, max_tokens=self._max_tokens, min_rows=1)
        begun = (
            self._start([tokens[number] for number in bucket], bucket, predicted[bucket])
            for bucket in buckets
            if done is None or not done[bucket].all()
        )
        # A GPU works on one batch while the one before is taken apart.
        for batch in one_ahead(begun):
            yield from _finish(batch)

    def _start(self, tokens: Sequence[Int32s], windows: Int64s, predicted: Int64s) -> _Batch:
        """Set the device to work on a batch."""
        import torch

        # Padding comes after a window's tokens, which a causal model never looks at from them.
        lengths = np.array([len(window) for window in tokens], np.int64)
        width = int(lengths.max())
        padded, _ = pad(tokens, width)
        firsts = np.arange(len(tokens)) * width + lengths - 1 - predicted
        within = np.arange(int(predicted.sum())) - np.repeat(np.cumsum(predicted) - predicted, predicted)
        places = np.repeat(firsts, predicted) + within
        states = self._states(torch.from_numpy(padded), torch.from_numpy(places))
        done = None
        if self._gpu:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch leaves it without types
            done.record()
        return _Batch(windows, predicted, states, done)

    def _states(self, ids: Tensor, places: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return keys, surprisals and entropies, on the host, at places counted through all rows of the windows."""
        import torch

        ids, places = self._send(ids), self._send(places)
        # A place of the inputs, whose rows are shorter by the token that is only predicted.
        inputs = places - places // ids.shape[1]
        with torch.inference_mode(), self._capture:
            if not (self._surprisal or self._entropy):
                with contextlib.suppress(Captured):
                    self._model.forward(input_ids=ids[:, :-1], use_cache=False)
                return self._fetch(self._keys(inputs)), None, None
            body = self._run_body(ids[:, :-1])
            states = body[0].flatten(0, 1)
            came = ids.flatten()[places + 1]
            keys = [] if self._key == "lm_head_input" else [self._keys(inputs)]
            surprisals, entropies = [], []
            size = max(1, _LOGITS // self._model.config.get_text_config().vocab_size)
            for rows, next_tokens in zip(torch.split(inputs, size), torch.split(came, size), strict=True):
                log = torch.log_softmax(self._logits(body, states[rows]).float(), dim=-1)
                if self._key == "lm_head_input":
                    keys.append(self._capture.last[0].half())
                if self._surprisal:
                    surprisals.append(-log.gather(1, next_tokens[:, None])[:, 0])
                if self._entropy:
                    entropies.append(torch.special.entr(log.exp_()).sum(-1))
            return (
                self._fetch(torch.cat(keys)),
                self._fetch(torch.cat(surprisals)) if self._surprisal else None,
                self._fetch(torch.cat(entropies)) if self._entropy else None,
            )

    def _keys(self, inputs: Tensor) -> Tensor:
        return self._capture.last.flatten(0, 1)[inputs].half()

    def _run_body(self, ids: Tensor) -> Any:
        outputs: list[Any] = []

        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            outputs.append(output)
            raise Captured

        hook = self._body.register_forward_hook(keep)
        try:
            self._model.forward(input_ids=ids, use_cache=False)
        except Captured:
            return outputs[0]
        finally:
            hook.remove()

    def _logits(self, body: Any, states: Tensor) -> Tensor:
        """Return what the model's own forward makes of last hidden states, of shape (n, size).

        The body is not run meanwhile and gives these states; so whatever the model does besides its output layer
        (scaling, soft caps, a layer before it) is done.
        """
        import torch

        output = type(body)(**{**body, next(iter(body)): states[None]})
        own = vars(self._body).get("forward")
        self._body.forward = lambda *args, **named: output
        try:
            ids = torch.zeros((1, len(states)), dtype=torch.int64, device=states.device)
            logits: Tensor = self._model.forward(input_ids=ids, use_cache=False).logits
        finally:
            if own is None:
                del self._body.forward
            else:
                self._body.forward = own
        return logits[0]

    def _send(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self._device, non_blocking=True) if self._gpu else tensor

    def _fetch(self, tensor: Tensor) -> Tensor:
        import torch

        if not self._gpu:
            return tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return host.copy_(tensor, non_blocking=True)


def _finish(batch: _Batch) -> Iterator[tuple[int, States]]:
    """Yield the states of each window of a batch, once the device is done."""
    if batch.done is not None:
        batch.done.synchronize()
    cuts = np.cumsum(batch.counts)[:-1]

    def parts(tensor: Tensor | None) -> Sequence[Any]:
        # A copy where it lies in memory that the device needs for the next ones.
        return [None] * len(batch.windows) if tensor is None else np.split(tensor.numpy().copy(), cuts)

    for number, *states in zip(batch.windows, *map(parts, batch.states), strict=True):
        yield int(number), States(*states)
