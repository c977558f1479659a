"""The modules of an encoder: the usual ones of sentence-transformers, without the seconds that its import takes.

They give the vectors that sentence-transformers gives. Every other configuration is `Unusual`, and left to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from mnemodex.indexers.encoders.pooling import MODES, pool, pooling_modes
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping
    from pathlib import Path

    from tokenizers import Tokenizer
    from torch import Tensor


class Features(TypedDict):
    """Tensors of a batch, int64 of shape (texts, tokens)."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: NotRequired[Tensor]


class Config(TypedDict, total=False):
    """What is read here of a model's JSON files; there are further keys."""

    model_type: str
    architectures: list[str] | None
    hidden_size: int
    max_seq_length: int | None
    truncate_dim: int | None
    include_prompt: bool
    in_features: int
    out_features: int
    bias: bool
    activation_function: str


class _Entry(TypedDict):
    """A module in `modules.json`."""

    type: str
    path: str
    kwargs: NotRequired[object]


Module = tuple[str, "Path"]
"""The name of a module's class, and its folder."""

_NAMESPACES = (
    "sentence_transformers.models",
    "sentence_transformers.sentence_transformer.modules",
    "sentence_transformers.base.modules",
)
_TEXT_MODELS = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
)
"""Model types of transformers that read text only, and give a state for each token."""
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_ACTIVATIONS = tuple(
    f"torch.nn.modules.{name}"
    for name in ("activation.Tanh", "activation.ReLU", "activation.GELU", "activation.Sigmoid", "linear.Identity")
)
_USUAL_TRANSFORMER: dict[str, object] = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_USUAL: dict[str, object] = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
"""Settings of modules by the value that is read here; any other setting has to be empty, none or false."""


class Unusual(Exception):  # noqa: N818 - no error: sentence-transformers reads it
    """A configuration that is left to sentence-transformers."""


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
    modules = list(_modules(path))
    # All settings first: weights take the time.
    states = modules[0][0] == "Transformer"
    config = _json(path / "config_sentence_transformers.json")
    if states:
        _check_transformer(modules[0][1])
    for number, (name, folder) in enumerate(modules[1:]):
        if (name == "Pooling") != (states and number == 0):
            raise Unusual(name)
        _check_step(name, _json(folder / "config.json"))
    if states and len(modules) == 1:
        raise Unusual("no pooling")
    loaded = (_transformer if states else _static)(modules[0][1], device=device, dtype=dtype)
    steps = [_step(loaded, name, folder, device) for name, folder in modules[1:]]
    width = config.get("truncate_dim")
    loaded.dimension = min(loaded.dimension, width or loaded.dimension)
    first = loaded.forward

    def forward(features: Features) -> Any:
        vectors = first(features)
        for step in steps:
            vectors = step(vectors, features)
        return vectors[:, :width]

    loaded.forward = forward
    return loaded


def stated_dimension(path: Path) -> int | None:
    """Return the numbers of a vector as the configuration of a model's folder states them; None where it does not."""
    dimension = _json(path / "config.json").get("hidden_size")
    try:
        for name, folder in _modules(path):
            if name == "Transformer":
                dimension = _json(folder / "config.json").get("hidden_size")
            elif name == "Pooling" and dimension is not None:
                dimension *= len(pooling_modes(_json(folder / "config.json")))
            elif name == "Dense":
                dimension = _json(folder / "config.json").get("out_features")
    except Unusual:
        return None
    width = _json(path / "config_sentence_transformers.json").get("truncate_dim")
    return dimension if width is None or dimension is None else min(width, dimension)


def _modules(path: Path) -> Iterator[Module]:
    """Yield a model's modules, in order."""
    file = path / "modules.json"
    if not file.is_file():
        if _json(path / "config.json").get("model_type") not in _TEXT_MODELS or _is_causal(path):
            raise Unusual("no modules.json")
        # As sentence-transformers does: the states of the tokens are averaged, by the settings of a missing folder.
        yield from (("Transformer", path), ("Pooling", path / "modules"))
        return
    if _json(path / "config_sentence_transformers.json").get("model_type") not in (None, "SentenceTransformer"):
        raise Unusual("another type of model")
    entries: list[_Entry] = json.loads(file.read_text("utf-8"))
    for number, entry in enumerate(entries):
        # Newer versions name a class by its module too.
        name = str(entry["type"]).rpartition(".")[2]
        known = any(str(entry["type"]).startswith(f"{namespace}.") for namespace in _NAMESPACES)
        usual = ("Transformer", "StaticEmbedding") if number == 0 else ("Pooling", "Dense", "Normalize")
        if not known or name not in usual or entry.get("kwargs") or ".." in entry["path"] or entry["path"][:1] == "/":
            raise Unusual(entry["type"])
        yield name, path / entry["path"]


def _is_causal(path: Path) -> bool:
    architectures = _json(path / "config.json").get("architectures") or []
    return any(str(name).endswith("ForCausalLM") for name in architectures)


def _json(file: Path) -> Config:
    found: Config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found


def _check_step(name: str, config: Config) -> None:
    if name == "Pooling":
        if config.get("include_prompt") is False or not set(pooling_modes(config)) <= set(MODES):
            raise Unusual(name)
        return
    if config.get("activation_function", _ACTIVATIONS[0]) not in _ACTIVATIONS:
        raise Unusual("activation_function")
    read = {"activation_function", *(("in_features", "out_features", "bias") if name == "Dense" else ())}
    _check_settings(config, _USUAL, read=read)


def _check_settings(config: Mapping[str, object], usual: Mapping[str, object], *, read: Container[str]) -> None:
    for key, value in config.items():
        if key not in read and value and value != usual.get(key):
            raise Unusual(key)


def _check_transformer(folder: Path) -> None:
    _check_settings(_json(folder / "sentence_bert_config.json"), _USUAL_TRANSFORMER, read={"max_seq_length"})
    others = [file for file in folder.glob("sentence_*_config.json") if file.name != "sentence_bert_config.json"]
    if (
        others
        or any((folder / f"{name}_config.json").exists() for name in ("adapter", "processor", "preprocessor"))
        or _json(folder / "config.json").get("model_type") not in _TEXT_MODELS
    ):
        raise Unusual("no usual transformer")


def _transformer(folder: Path, *, device: str, dtype: Any) -> Modules:
    from transformers import AutoConfig, AutoTokenizer

    from mnemodex.indexers.encoders.bert import load_bert

    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
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
        modes = pooling_modes(_json(folder / "config.json"))
        loaded.dimension *= len(modes)
        return lambda states, features: pool(states, features["attention_mask"], modes)
    if name == "Normalize":
        return lambda vectors, features: torch.nn.functional.normalize(vectors, dim=-1)
    layer = _dense(folder, device)
    loaded.dimension = int(_json(folder / "config.json")["out_features"])
    return lambda vectors, features: layer(vectors)


def _dense(folder: Path, device: str) -> Any:
    import torch
    from safetensors.torch import load_file

    config = _json(folder / "config.json")
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh").rpartition(".")[2]
    weights = load_file(folder / "model.safetensors")
    linear.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)()).to(device).eval()
