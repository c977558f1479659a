"""Whether a model is the one that a datastore was built with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.lm.capture import KeyCapture
from mnemodex.indexers.models.tokenizers import content_hash, tokenizer_hash
from mnemodex.indexers.models.tokenizers import tokenizer as load_tokenizer
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.retrievers.datastore import DatastoreInfo

TOLERANCE = 0.05
"""The greatest median relative error of keys.

Measured with SmolLM2-135M on keys read in float32: bf16 is 0.010 to 0.020 away, by the kind of key, fp16 0.001, weights
rounded to 8 bits 0.025 to 0.036, ten steps of tuning on 64 tokens (AdamW, 2e-5) 0.049.
"""


def check_tokenizer(tokenizer: Any, info: DatastoreInfo) -> None:
    """See that a tokenizer (of tokenizers or transformers) is the datastore's.

    Raises:
        ModelError: it is not.
    """
    found = content_hash(tokenizer)
    if info.tokenizer_sha256 != found and info.tokenizer_sha256 != _hash_of_files(tokenizer):
        msg = (
            f"the tokenizer is not that of datastore {info.name!r} (SHA-256 {found[:12]}…, not "
            f"{info.tokenizer_sha256[:12]}…), which was built with {info.model!r}: use the tokenizer of that model, or "
            "build the datastore anew"
        )
        raise ModelError(msg)


def _hash_of_files(tokenizer: Any) -> str | None:
    """The hash of the files that a tokenizer of transformers was loaded from, if it still has their tokens.

    transformers writes parts of some tokenizers anew when it loads them, and may add a token for padding: no text is
    read otherwise, but the hash of what is loaded differs.
    """
    name = getattr(tokenizer, "name_or_path", None)
    if not name:
        return None
    try:
        of_files = load_tokenizer(name).get_vocab().items()
    except ModelError:
        return None
    added = {token for token, _ in tokenizer.get_vocab().items() - of_files}
    same = of_files <= tokenizer.get_vocab().items() and added <= set(tokenizer.all_special_tokens)
    return tokenizer_hash(name) if same else None


def check_model(model: Any, info: DatastoreInfo) -> None:
    """See that a causal language model of transformers is the datastore's: by its sizes, and by keys of a text.

    The model reads the beginning of a text of the datastore. Its dtype may differ from the one that keys were read in,
    its weights may not.

    Raises:
        ModelError: it is another one, or no causal language model.
    """
    import torch

    built = f"datastore {info.name!r} was built with {info.model!r}"
    remedy = "attach that model, or build a datastore with this one"
    if getattr(model.config, "is_encoder_decoder", False):
        msg = f"model {type(model).__name__} has an encoder; a KnnLM needs a model that only goes on with a text"
        raise ModelError(msg)
    head = model.get_output_embeddings()
    vocabulary = model.config.get_text_config().vocab_size if head is None else head.weight.shape[0]
    if vocabulary != info.vocabulary:
        msg = f"the model has {vocabulary} tokens, but {built}, which has {info.vocabulary}: {remedy}"
        raise ModelError(msg)
    tokens = torch.from_numpy(info.sample_tokens[:-1].astype(np.int64))[None]
    with _evaluating(model), torch.no_grad(), KeyCapture(model, info.key) as capture:
        model(input_ids=tokens.to(model.device), use_cache=False)
    if capture.last.shape[-1] != info.dimension:
        msg = f"the model's keys have {capture.last.shape[-1]} dimensions, but {built}, with {info.dimension}: {remedy}"
        raise ModelError(msg)
    keys = capture.last[0].float().cpu().numpy()[-len(info.sample_keys) :]
    error = relative_error(keys, info.sample_keys)
    if not error <= TOLERANCE:
        msg = (
            f"the model is not the one that the datastore is of: {built}, and on a text of it this model's keys differ "
            f"from those stored by {error:.0%} of their length (median of {len(keys)}; {TOLERANCE:.0%} may come of "
            f"rounding). Its weights were tuned, quantized to few bits, or are of another version: {remedy}"
        )
        raise ModelError(msg)


def relative_error(keys: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> float:
    """The median over keys of shape (m, dimension) of how far they are from those stored, by these' lengths."""
    lengths = np.linalg.norm(stored, axis=1)
    away = np.linalg.norm(keys - stored, axis=1)
    return float(np.median(away / np.where(lengths > 0, lengths, 1.0)))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off, and afterwards every module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
