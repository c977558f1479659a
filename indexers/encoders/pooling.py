"""Pooling: the states of a text's tokens become one vector, in the ways of sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The ways of pooling; where several are on, their vectors are joined in this order or in that of the settings."""

_OLDER_KEYS = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
"""What the keys of older settings have behind `pooling_mode_`, in the order of `MODES`."""


def pooling_modes(config: Mapping[str, object]) -> tuple[str, ...]:
    """Return the ways that a module's settings name: the mean where they name none."""
    given = config.get("pooling_mode")
    if isinstance(given, list):
        return tuple(map(str, given))
    if given is not None:
        return (str(given),)
    found = [mode for mode, key in zip(MODES, _OLDER_KEYS, strict=True) if config.get(f"pooling_mode_{key}")]
    return tuple(found) or ("mean",)


def pool(states: Any, mask: Any, modes: tuple[str, ...]) -> Any:
    """Return a vector for each text, of shape (texts, modes · width), in the states' type.

    Args:
        states: of the tokens, a tensor of shape (texts, tokens, width).
        mask: int64 of shape (texts, tokens), 1 for a token.
        modes: some of `MODES`.
    """
    import torch

    return torch.cat([_pool(states, mask, mode) for mode in modes], dim=-1)


def _pool(states: Any, mask: Any, mode: str) -> Any:
    import torch

    # Half precision is summed in float32.
    wide = torch.promote_types(states.dtype, torch.float32)
    first = mask.argmax(dim=1)
    rows = torch.arange(len(states), device=states.device)
    if mode == "cls":
        return states[rows, first]
    if mode == "lasttoken":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        return states[rows, last] * mask[rows, last].unsqueeze(1).to(states.dtype)
    if mode == "max":
        return states.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(dim=1).values
    weights = mask.unsqueeze(-1).to(states.dtype if mode != "weightedmean" else wide)
    if mode == "weightedmean":
        places = torch.arange(1, mask.shape[1] + 1, device=states.device, dtype=wide)
        weights = weights * (places - first.unsqueeze(1)).unsqueeze(-1)
    total = (states * weights).sum(dim=1, dtype=wide)
    count = weights.sum(dim=1, dtype=wide).clamp(min=1e-9)
    return (total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)).to(states.dtype)
