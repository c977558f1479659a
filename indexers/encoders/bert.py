"""BERT and RoBERTa by torch alone: to import their modules of transformers takes longer than to import torch."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from mnemodex.indexers.encoders.modules import Features

_WITH_PADDING = ("camembert", "roberta", "xlm-roberta")
"""Model types whose positions are counted from the number of the padding token, and leave padding out."""
_TYPES = ("bert", *_WITH_PADDING)
_ACTIVATIONS = ("gelu", "relu")
"""Functions of torch."""
_PREFIXES = ("", "bert.", "roberta.")
"""What the names of weights begin with, where a model was saved with what it was trained for."""
_EMBEDDINGS = ("word", "token_type", "position")
_PARTS = ("query", "key", "value")


def load_bert(folder: Path, config: Any, *, device: str, dtype: torch.dtype) -> Bert | None:
    """Return the model of a folder; None where its weights or its configuration, as AutoConfig reads it, are not usual.

    It takes a batch with `input_ids` and `attention_mask`, int64 of shape (texts, tokens), and gives the states of
    tokens, of shape (texts, tokens, hidden size). All tokens are of the first type.
    """
    from safetensors import safe_open

    file = folder / "model.safetensors"
    usual = (
        config.model_type in _TYPES
        and config.hidden_act in _ACTIVATIONS
        and config.pad_token_id is not None
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not (config.is_decoder or hasattr(config, "quantization_config"))
        and file.is_file()
    )
    if not usual:
        return None
    shapes = _shapes(config)
    with safe_open(file, "pt") as saved:
        names = set(saved.keys())
        for prefix in _PREFIXES:
            if all(
                f"{prefix}{name}" in names and tuple(saved.get_slice(f"{prefix}{name}").get_shape()) == shape
                for name, shape in shapes.items()
            ):
                weights = {name: saved.get_tensor(f"{prefix}{name}").to(device, dtype) for name in shapes}
                return Bert(config, weights)
    return None


def _shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the weights, by their names in files."""
    width, inner = config.hidden_size, config.intermediate_size
    sizes = dict(
        zip(_EMBEDDINGS, (config.vocab_size, config.type_vocab_size, config.max_position_embeddings), strict=True)
    )
    tables = {f"embeddings.{name}_embeddings.weight": (size, width) for name, size in sizes.items()}
    layers = [f"encoder.layer.{number}." for number in range(config.num_hidden_layers)]
    matrices = {f"attention.self.{name}": (width, width) for name in _PARTS}
    matrices |= {
        "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
    }
    dense = {f"{layer}{name}": shape for layer in layers for name, shape in matrices.items()}
    norms = [f"{layer}{name}.LayerNorm" for layer in layers for name in ("attention.output", "output")]
    vectors = dict.fromkeys(("embeddings.LayerNorm", *norms), (width,))
    weights = {f"{name}.weight": shape for name, shape in chain(dense.items(), vectors.items())}
    biases = {f"{name}.bias": shape[:1] for name, shape in chain(dense.items(), vectors.items())}
    return {**tables, **weights, **biases}


class Bert:
    """An encoder of some configuration, with the weights that `_shapes` names."""

    def __init__(self, config: Any, weights: dict[str, Tensor]) -> None:
        from torch.nn import functional

        self._functional = functional
        self._weights = weights
        self._layers = int(config.num_hidden_layers)
        self._head = config.hidden_size // config.num_attention_heads
        self._epsilon = float(config.layer_norm_eps)
        self._activation = getattr(functional, config.hidden_act)
        self._padding = config.pad_token_id if config.model_type in _WITH_PADDING else None

    def __call__(self, features: Features) -> Tensor:
        """Return the states of the tokens of a batch; see `load_bert`."""
        ids, mask = features["input_ids"], features["attention_mask"]
        words, types, positions = (
            self._functional.embedding(rows, self._weights[f"embeddings.{name}_embeddings.weight"])
            for name, rows in zip(_EMBEDDINGS, (ids, ids.new_zeros(ids.shape), self._positions(ids)), strict=True)
        )
        states = self._normalized("embeddings", words + types + positions)
        # Without a mask attention is faster.
        allowed = None if mask.all() else mask.bool()[:, None, None, :]
        for number in range(self._layers):
            states = self._layer(f"encoder.layer.{number}.", states, allowed)
        return states

    def _positions(self, ids: Tensor) -> Tensor:
        import torch

        if self._padding is None:
            return torch.arange(ids.shape[1], device=ids.device)
        known = ids.ne(self._padding).long()
        positions: Tensor = known.cumsum(dim=1) * known + self._padding
        return positions

    def _layer(self, name: str, states: Tensor, allowed: Tensor | None) -> Tensor:
        heads = (*states.shape[:2], -1, self._head)
        query, key, value = (
            self._linear(f"{name}attention.self.{part}", states).view(heads).transpose(1, 2) for part in _PARTS
        )
        attended = self._functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        output = f"{name}attention.output"
        states = self._normalized(output, self._linear(f"{output}.dense", attended.transpose(1, 2).flatten(2)) + states)
        inner = self._activation(self._linear(f"{name}intermediate.dense", states))
        return self._normalized(f"{name}output", self._linear(f"{name}output.dense", inner) + states)

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return self._functional.linear(values, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalized(self, name: str, values: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return self._functional.layer_norm(values, weight.shape, weight, bias, self._epsilon)
