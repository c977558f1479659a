"""Where in a causal language model the keys are: found by its structure, whatever its modules are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


def blocks(model: nn.Module) -> nn.ModuleList:
    """The model's decoder blocks, in order.

    Raises:
        ModelError: it has none.
    """
    from torch import nn

    config: Any = model.config
    layers = config.get_text_config().num_hidden_layers
    found = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == layers]
    if not found:
        msg = f"model {type(model).__name__}: no list of {layers} decoder blocks is found in it"
        raise ModelError(msg)
    return found[0]


def last_feed_forward(model: nn.Module) -> nn.Module:
    """The module whose input is the input of the last feed-forward block.

    Raises:
        ModelError: the last block has none.
    """
    children = [part for part in blocks(model)[-1].children() if any(p.dim() > 1 for p in part.parameters())]
    return children[-1]
