"""The configuration of an encoder's modules, as sentence-transformers writes it, and which of it is usual."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NotRequired, TypedDict

from mnemodex.indexers.encoders.pooling import MODES, pooling_modes

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path


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
    prompts: dict[str, str | None]
    similarity_fn_name: str | None


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


def usual_modules(path: Path) -> list[Module]:
    """Return the modules of a model's folder, in order; `Unusual` where they or their settings are other ones."""
    modules = list(_modules(path))
    states = modules[0][0] == "Transformer"
    if states:
        _check_transformer(modules[0][1])
    for number, (name, folder) in enumerate(modules[1:]):
        if (name == "Pooling") != (states and number == 0):
            raise Unusual(name)
        _check_step(name, read_config(folder / "config.json"))
    if states and len(modules) == 1:
        raise Unusual("no pooling")
    return modules


def stated_dimension(path: Path) -> int | None:
    """Return the numbers of a vector as the configuration of a model's folder states them; None where it does not."""
    dimension = read_config(path / "config.json").get("hidden_size")
    try:
        for name, folder in _modules(path):
            if name == "Transformer":
                dimension = read_config(folder / "config.json").get("hidden_size")
            elif name == "Pooling" and dimension is not None:
                dimension *= len(pooling_modes(read_config(folder / "config.json")))
            elif name == "Dense":
                dimension = read_config(folder / "config.json").get("out_features")
    except Unusual:
        return None
    width = read_config(path / "config_sentence_transformers.json").get("truncate_dim")
    return dimension if width is None or dimension is None else min(width, dimension)


def _modules(path: Path) -> Iterator[Module]:
    """Yield a model's modules, in order."""
    file = path / "modules.json"
    if not file.is_file():
        if read_config(path / "config.json").get("model_type") not in _TEXT_MODELS or _is_causal(path):
            raise Unusual("no modules.json")
        # As sentence-transformers does: the states of the tokens are averaged, by the settings of a missing folder.
        yield from (("Transformer", path), ("Pooling", path / "modules"))
        return
    if read_config(path / "config_sentence_transformers.json").get("model_type") not in (None, "SentenceTransformer"):
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
    architectures = read_config(path / "config.json").get("architectures") or []
    return any(str(name).endswith("ForCausalLM") for name in architectures)


def read_config(file: Path) -> Config:
    """Return what a JSON file holds; nothing where there is no such file."""
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
    _check_settings(read_config(folder / "sentence_bert_config.json"), _USUAL_TRANSFORMER, read={"max_seq_length"})
    others = [file for file in folder.glob("sentence_*_config.json") if file.name != "sentence_bert_config.json"]
    if (
        others
        or any((folder / f"{name}_config.json").exists() for name in ("adapter", "processor", "preprocessor"))
        or read_config(folder / "config.json").get("model_type") not in _TEXT_MODELS
    ):
        raise Unusual("no usual transformer")
