"""One forward pass of a model, as a hook sees it: what was given, and the places that logits were made for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import ModelError, QueryError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from mnemodex.schemas.lm import KeyKind

_CACHES = ("past_key_values", "cache_params")
"""What transformers calls a cache, in arguments and outputs."""


class Signature:
    """The arguments that a model's `forward` takes.

    Args:
        model: of transformers.
    """

    def __init__(self, model: Any) -> None:
        parameters = inspect.signature(model.forward).parameters.values()
        self.names = [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]

    def bind(self, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, those without a name of their own included."""
        return {**dict(zip(self.names, positional, strict=False)), **named}


@dataclass
class Forward:
    """A forward pass that has just been made.

    Attributes:
        given: its arguments by name.
        output: what the model returned, with `logits` of shape (batch, places, vocabulary).
        slices: whether the model makes logits for those places only that `logits_to_keep` names.
    """

    given: dict[str, Any]
    output: Any
    slices: bool

    @cached_property
    def tokens(self) -> int:
        """How many tokens of each sequence were read."""
        read = self.given.get("input_ids")
        return int((self.given["inputs_embeds"] if read is None else read).shape[1])

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Among the tokens that were read, those that logits were made for: shape (places,), in the logits' order.

        Raises:
            QueryError: `logits_to_keep` differs from sequence to sequence.
        """
        import numpy as np

        every = np.arange(self.tokens)
        keep = self.given.get("logits_to_keep", 0) if self.slices else 0
        if isinstance(keep, int):
            return every[-keep:] if keep else every
        if np.ndim(keep) != 1 or not hasattr(keep, "cpu"):
            msg = (
                f"logits_to_keep is {keep!r}; while a KnnLM is attached give a number, or "
                "positions of shape (places,) for all sequences"
            )
            raise QueryError(msg)
        kept: NDArray[np.int64] = every[keep.cpu().numpy()]
        return kept

    def keys(self, captured: Tensor, kind: KeyKind) -> Tensor:
        """The keys of the places.

        Args:
            captured: what `KeyCapture` has of that kind: shape (batch, tokens, dimension), or (batch, places,
                dimension) of what the output layer is given.
            kind: the keys.

        Raises:
            ModelError: there are not as many as logits.
        """
        import torch

        logits = self.output.logits
        keys = captured
        if kind != "lm_head_input":
            keys = captured[:, torch.from_numpy(self.positions).to(captured.device)]
        if keys.shape[:2] != logits.shape[:2]:
            msg = (
                f"the model gives logits of shape {tuple(logits.shape)}, but keys of shape {tuple(captured.shape)}: "
                "it does not read one text in one sequence, as a datastore's model must"
            )
            raise ModelError(msg)
        return keys

    def real(self) -> NDArray[np.bool_]:
        """Which places are of tokens and not of padding: shape (batch, places)."""
        import numpy as np

        shape = self.output.logits.shape[:2]
        mask: Any = self.given.get("attention_mask")
        # Where a cache is compiled for, masks of attention are made beforehand: nothing can be told from them.
        if getattr(mask, "ndim", None) != 2:
            return np.ones(shape, bool)
        here: NDArray[np.bool_] = mask[:, -self.tokens :].cpu().numpy()[:, self.positions] != 0
        return here

    def read(self) -> NDArray[np.int64] | None:
        """The tokens that were read, shape (batch, tokens); None where they are not known."""
        ids = self.given.get("input_ids")
        if ids is None:
            return None
        read: NDArray[np.int64] = ids.cpu().numpy()
        return read

    @property
    def cache(self) -> Any:
        """The cache of keys and values that the model filled; None if it has none."""
        for name in _CACHES:
            found = self.given.get(name)
            found = getattr(self.output, name, None) if found is None else found
            if found is not None:
                return found
        return None
