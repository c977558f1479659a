"""Whether a model is the one that a datastore was built with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.lm.capture import KeyCapture, evaluating
from mnemodex.indexers.models.tokenizers import content_hash, tokenizer_hash
from mnemodex.indexers.models.tokenizers import tokenizer as load_tokenizer
from mnemodex.schemas.errors import ModelError

if TYPE_CHECKING:
    from mnemodex.retrievers.datastore import DatastoreInfo

TOLERANCE = 0.05
"""The greatest median relative error of keys.

Measured with SmolLM2-135M on keys read in float32: bf16 is 0.010 to 0.020 away, by the kind of key, fp16 0.001, weights
rounded to 8 bits 0.025 to 0.036, ten steps of tuning on 64 tokens (AdamW, 2e-5) 0.049.
"""


def check_tokenizer(tokenizer: Any, info: DatastoreInfo) -> None:
    """Refuse a tokenizer (of tokenizers or transformers) that is not the datastore's, by a `ModelError`."""
    sha256 = content_hash(tokenizer)
    if info.tokenizer_sha256 != sha256 and info.tokenizer_sha256 != _hash_of_files(tokenizer):
        raise ModelError(
            f"the tokenizer is not that of datastore {info.name!r} (SHA-256 {sha256[:12]}…, not "
            f"{info.tokenizer_sha256[:12]}…), which was built with {info.model!r}: use the tokenizer of that model, or "
            "rebuild the datastore"
        )


def _hash_of_files(tokenizer: Any) -> str | None:
    """Return the hash of the files that a tokenizer of transformers was loaded from, if it still has their tokens.

    transformers rewrites parts of some tokenizers when it loads them, and may add a token for padding: it reads texts
    as before, but the hash of what is loaded differs.
    """
    name = getattr(tokenizer, "name_or_path", None)
    if not name:
        return None
    try:
        of_files = load_tokenizer(name).get_vocab().items()
    except ModelError:
        return None
    loaded = tokenizer.get_vocab().items()
    added = {token for token, _ in loaded - of_files}
    return tokenizer_hash(name) if of_files <= loaded and added <= set(tokenizer.all_special_tokens) else None


def check_model(model: Any, info: DatastoreInfo) -> None:
    """Refuse a causal language model of transformers that is not the datastore's, by its sizes and by keys of a text.

    The model reads the beginning of a text of the datastore. Its dtype may differ from the one that keys were read in,
    its weights may not.

    Raises:
        ModelError: it is another one, or no causal language model.
    """
    import torch

    built = f"datastore {info.name!r} was built with {info.model!r}"
    remedy = "attach that model, or build a datastore with this one"
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"model {type(model).__name__} has an encoder; a KnnLM needs a decoder-only model")
    head = model.get_output_embeddings()
    vocabulary = model.config.get_text_config().vocab_size if head is None else head.weight.shape[0]
    if vocabulary != info.vocabulary:
        raise ModelError(f"the model has {vocabulary} tokens, but {built}, which has {info.vocabulary}: {remedy}")
    tokens = torch.from_numpy(info.sample_tokens[:-1].astype(np.int64))[None]
    with evaluating(model), torch.no_grad(), KeyCapture(model, info.key) as capture:
        model(input_ids=tokens.to(model.device), use_cache=False)
    dimension = capture.last.shape[-1]
    if dimension != info.dimension:
        raise ModelError(f"the model's keys have {dimension} dimensions, but {built}, with {info.dimension}: {remedy}")
    keys = capture.last[0].float().cpu().numpy()[-len(info.sample_keys) :]
    lengths = np.linalg.norm(info.sample_keys, axis=1)
    errors = np.linalg.norm(keys - info.sample_keys, axis=1) / np.where(lengths > 0, lengths, 1.0)
    error = float(np.median(errors))
    if not error <= TOLERANCE:
        raise ModelError(
            f"the model is not the datastore's: {built}, and on a text of it this model's keys differ "
            f"from those stored by {error:.0%} of their length (median of {len(keys)}; {TOLERANCE:.0%} may come of "
            f"rounding). Its weights were tuned, quantized to few bits, or are of another version: {remedy}"
        )
