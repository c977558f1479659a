"""Small encoders with random weights, saved by sentence-transformers, on the tokenizer of the default model."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.sections import DEFAULT_MODEL

WIDTH = 24
TEXTS = ["Apples are stored in straw.", "", "a", "the keeper climbs two hundred steps " * 12, "港の灯台は", "[SEP] of"]
MODES = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]


@cache
def transformer(kind: str = "bert") -> Path:
    """A transformers model without modules."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    folder = Path(mkdtemp(prefix="mnemodex-encoder-"))
    torch.manual_seed(3)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = AutoConfig.for_model(kind, vocab_size=30522, max_position_embeddings=64, pad_token_id=0, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(locate(DEFAULT_MODEL), model_max_length=64).save_pretrained(folder)
    return folder


def save_modules(folder: Path, what: str, *, kind: str = "bert", **options: Any) -> Path:
    """A transformer with modules behind it, named by what is special of them, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Transformer

    modules = [Transformer(str(transformer(kind))), *_modules(what)]
    SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder))
    return folder


def save_static(folder: Path, *modules: Any) -> Path:
    """A table of a vector for each token, as model2vec's models are."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(3)
    first = StaticEmbedding(Tokenizer.from_file(str(locate(DEFAULT_MODEL) / "tokenizer.json")), embedding_dim=WIDTH)
    SentenceTransformer(modules=[first, *modules], device="cpu").save(str(folder))
    return folder


def edit(folder: Path, file: str, **changes: Any) -> Path:
    """Change keys of a JSON file; None takes one out."""
    path = folder / file
    data = {**(json.loads(path.read_text()) if path.exists() else {}), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    return folder


def with_pickle(folder: Path) -> Path:
    """Put the weights of a model into a pickle, in the place of safetensors."""
    import torch
    from safetensors.torch import load_file

    for file in list(folder.rglob("model.safetensors")):
        torch.save(load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()
    return folder


def copy(folder: Path, to: Path) -> Path:
    """A copy of a model."""
    return Path(shutil.copytree(folder, to))


def _modules(what: str) -> list[Any]:
    import torch
    from sentence_transformers.models import Dense, LayerNorm, Normalize, Pooling

    return {
        **{mode: [Pooling(WIDTH, mode), Normalize()] for mode in MODES},
        "two": [Pooling(WIDTH, ["max", "cls"])],
        "dense": [Pooling(WIDTH), Dense(WIDTH, 10), Normalize()],
        "dense, ReLU": [Pooling(WIDTH), Dense(WIDTH, 40, bias=False, activation_function=torch.nn.ReLU())],
        "plain activation": [Pooling(WIDTH), Dense(WIDTH, 8, activation_function=None)],
        "residual": [Pooling(WIDTH), Dense(WIDTH, 8, use_residual=True)],
        "layer norm": [Pooling(WIDTH), LayerNorm(WIDTH)],
        "of names": [Pooling(WIDTH, include_prompt=False)],
    }[what]


def reference(folder: Path, texts: list[str] = TEXTS, **options: Any) -> Any:
    """The vectors of sentence-transformers itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model.encode(texts, convert_to_numpy=True, show_progress_bar=False, **options)
