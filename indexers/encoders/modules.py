"""The modules of an encoder: the usual ones of sentence-transformers, without the seconds that its import takes.

They give the vectors that sentence-transformers gives. Every other configuration is `Unusual`, and left to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from mnemodex.indexers.encoders.configuration import read_config, usual_modules
from mnemodex.indexers.encoders.pooling import pool, pooling_modes
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor


class Features(TypedDict):
    """Tensors of a batch, int64 of shape (texts, tokens)."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: NotRequired[Tensor]


_LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass
class Modules:
    """An encoder's parts.

    Attributes:
        tokenizer: with padding and truncation as its caller sets them.
        forward: gives the vectors of a batch, a tensor of shape (texts, dimension).
        dimension: numbers of a vector.
        max_length: tokens after which a text is cut, special ones counted; None where nothing is cut.
        special_tokens: whether the tokens that a model wants around a text are added.
        pad_left: whether padding precedes a text.
        pad: the token that fills up.
        token_types: whether the model is given the type of each token.
    """

    tokenizer: Tokenizer
    forward: Callable[[Features], Any]
    dimension: int
    max_length: int | None
    special_tokens: bool = True
    pad_left: bool = False
    pad: int = 0
    token_types: bool = False


def load_usual(path: Path, *, device: str, dtype: Any) -> Modules:
    """Return the modules of a model's folder.

    Raises:
        Unusual: it has others than the usual ones, or other settings of these.
        ModelError: weights are missing.
    """
    # All settings first: weights take the time.
    (kind, first_folder), *rest = usual_modules(path)
    loaded = (_transformer if kind == "Transformer" else _static)(first_folder, device=device, dtype=dtype)
    steps = [_step(loaded, name, folder, device) for name, folder in rest]
    width = read_config(path / "config_sentence_transformers.json").get("truncate_dim")
    loaded.dimension = min(loaded.dimension, width or loaded.dimension)
    first = loaded.forward

    def forward(features: Features) -> Any:
        vectors = first(features)
        for step in steps:
            vectors = step(vectors, features)
        return vectors[:, :width]

    loaded.forward = forward
    return loaded


def _transformer(folder: Path, *, device: str, dtype: Any) -> Modules:
    from transformers import AutoConfig, AutoTokenizer

    from mnemodex.indexers.encoders.bert import load_bert

    limit = read_config(folder / "sentence_bert_config.json").get("max_seq_length")
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), **_LOCAL)
    config: Any = AutoConfig.from_pretrained(str(folder), **_LOCAL)
    forward = load_bert(folder, config, device=device, dtype=dtype) or _auto_model(folder, device, dtype)
    if limit is None:
        limit = tokenizer.model_max_length
        positions = getattr(config, "max_position_embeddings", -1)
        limit = min(limit, positions) if positions != -1 else limit
    return Modules(
        backend(tokenizer),
        forward,
        int(config.hidden_size),
        known_limit(limit),
        pad_left=tokenizer.padding_side == "left",
        pad=tokenizer.pad_token_id or 0,
        token_types="token_type_ids" in tokenizer.model_input_names,
    )


def _auto_model(folder: Path, device: str, dtype: Any) -> Callable[[Features], Any]:
    from transformers import AutoModel

    model, info = AutoModel.from_pretrained(
        str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
    )
    # No vector is made by the pooler, which many models are kept without.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ModelError(f"its weights lack {missing[0]} and {len(missing) - 1} more")
    model.to(device).eval()
    return lambda features: model(**features).last_hidden_state


def backend(tokenizer: Any) -> Tokenizer:
    """Return the fast tokenizer inside one of transformers; one without it is a `ModelError`."""
    inside: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if inside is None:
        raise ModelError(f"its tokenizer ({type(tokenizer).__name__}) has none of the package tokenizers inside")
    return inside


def known_limit(limit: float | None) -> int | None:
    """Return a tokenizer's limit; where none is known, transformers says 10^30, and sentence-transformers infinity."""
    return int(limit) if limit is not None and limit < 10**9 else None


def _static(folder: Path, *, device: str, dtype: Any) -> Modules:
    """Return a table of one vector for each token, whose mean is that of a text (model2vec)."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    weights = load_file(folder / "model.safetensors")
    table: Any = weights["embedding.weight"] if "embedding.weight" in weights else weights["embeddings"]
    if "mapping" in weights:
        table = table[weights["mapping"].long()]
    if "weights" in weights and "embedding.weight" not in weights:
        table = table.to(torch.promote_types(table.dtype, torch.float32)) * weights["weights"][:, None]
    table = table.contiguous().to(device)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cut = tokenizer.truncation

    def forward(features: Features) -> Any:
        mask = features["attention_mask"].bool()
        lengths = mask.sum(dim=1)
        ends = lengths.cumsum(0)
        return torch.nn.functional.embedding_bag(features["input_ids"][mask], table, ends - lengths, mode="mean")

    limit = cut["max_length"] if cut else None
    return Modules(tokenizer, forward, int(table.shape[1]), limit, special_tokens=False)


def _step(loaded: Modules, name: str, folder: Path, device: str) -> Callable[[Any, Features], Any]:
    """Return what a module makes of vectors and the batch that they are of; its dimension is noted."""
    import torch

    if name == "Pooling":
        modes = pooling_modes(read_config(folder / "config.json"))
        loaded.dimension *= len(modes)
        return lambda states, features: pool(states, features["attention_mask"], modes)
    if name == "Normalize":
        return lambda vectors, features: torch.nn.functional.normalize(vectors, dim=-1)
    layer = _dense(folder, device)
    loaded.dimension = int(read_config(folder / "config.json")["out_features"])
    return lambda vectors, features: layer(vectors)


def _dense(folder: Path, device: str) -> Any:
    import torch
    from safetensors.torch import load_file

    config = read_config(folder / "config.json")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh").rpartition(".")[2]
    weights = load_file(folder / "model.safetensors")
    linear.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)()).to(device).eval()
