"""Encoders on a GPU: MiniLM where its weights are carried, and BERT base and large with made-up weights."""

from __future__ import annotations

import json
from functools import partial
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpu_bench import ForwardClock, check, timed

from mnemodex.indexers.encoders import Window, open_encoder
from mnemodex.indexers.models.locate import locate
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import Embedding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpu_bench import Bench, Row

_BATCHES = (1 << 14, 1 << 18)
"""Padded tokens of a batch: values that are tried in addition to the encoder's own."""

_REPEATS = 2

_COSINE = 0.01
"""How far vectors in bf16 may be from those in float32: 1 less their cosine."""


def encoders(bench: Bench) -> Iterator[Row]:
    """Check and time each encoder."""
    try:
        models = {"MiniLM": locate(bench.minilm)}
    except ModelError as error:
        yield {"model": "MiniLM", "note": f"left out: {error}"}
        models = {}
    texts = passages(bench.sizes.passages)
    for name, path in models.items():
        yield from _encoder(bench, name, path, texts)
    for name, shape in bench.sizes.encoders.items():
        yield from _encoder(bench, name, made_up(bench, name, shape), texts)


def passages(count: int) -> list[str]:
    """Texts of the Python manual's words, with lengths like those of passages: 90 words in the middle, some 400."""
    rng = np.random.default_rng(0)
    words = np.array(" ".join(topics.values()).split())
    lengths = np.minimum(rng.lognormal(np.log(90), 0.6, count), 400).astype(int) + 1
    starts = rng.integers(0, len(words) - lengths)
    return [" ".join(words[start : start + length]) for start, length in zip(starts, lengths, strict=True)]


def made_up(bench: Bench, name: str, shape: dict[str, int]) -> Path:
    """Write a BERT with random weights, and a tokenizer of the manual's words."""
    import tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))  # noqa: S106 # no password
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(vocab_size=8000, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(topics.values(), trainer)
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        pad_token="[PAD]",  # noqa: S106 # no password
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    folder = bench.folder / name.replace(" ", "-")
    torch.manual_seed(0)
    with torch.device(bench.device):
        model = BertModel(BertConfig(**shape))
    model.to(bench.dtype).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _encoder(bench: Bench, name: str, path: Path, texts: list[str]) -> Iterator[Row]:
    encoder: Any = open_encoder(Embedding(model=str(path)))
    few = texts[: bench.sizes.checked[0]]
    float32 = open_encoder(Embedding(model=str(path), dtype="float32")).encode(few)
    cosines = (encoder.encode(few) * float32).sum(1)
    yield check("1 - cosine to float32", 1 - float(cosines.min()), most=_COSINE, model=name)
    expected = _plain(bench, path, torch.float32)(few)
    yield check("float32 less a plain loop", float(np.abs(float32 - expected).max()), most=1e-4, model=name)
    yield check("vectors that an interruption changes", _interrupted(encoder, few), most=0, model=name)
    lengths = np.array([len(encoding.ids) for encoding in encoder._tokenize(texts)])
    flops, total = _flops(path, lengths), int(lengths.sum())
    shared: Row = {"model": name, "passages": len(texts), "tokens": total}
    bench.memory()
    for batch in (encoder._max_tokens, *_BATCHES):
        encoder._max_tokens = batch
        yield {**shared, "way": f"encoder, {batch} tokens a batch", **_timed(bench, encoder, texts, flops)}
    seconds = timed(lambda: encoder._tokenize(texts))
    yield {**shared, "way": "tokenizer alone", "seconds": seconds, "tokens/s": total / seconds}
    plain = _plain(bench, path, bench.dtype)
    plain(few)
    seconds = timed(lambda: plain(texts))
    yield {
        **shared,
        "way": "plain loop",
        "seconds": seconds,
        "tokens/s": total / seconds,
        **bench.rates(flops, seconds),
        **bench.memory(),
    }


def _timed(bench: Bench, encoder: Any, texts: list[str], flops: float) -> Row:
    """Shares are of the real tokens' arithmetic: padding is lost work."""
    encoder.encode(texts[: len(texts) // 10])
    before = encoder.stats.tokens, encoder.stats.padded
    runs = []
    for _ in range(_REPEATS):
        with ForwardClock(encoder._modules, bench.device) as clock:
            seconds = timed(lambda: encoder.encode(texts))
        runs.append((seconds, clock.seconds))
    seconds, in_model = min(runs)
    tokens, padded = encoder.stats.tokens - before[0], encoder.stats.padded - before[1]
    return {
        "padded/real": padded / tokens,
        "seconds": seconds,
        "tokens/s": tokens / _REPEATS / seconds,
        **bench.rates(flops, seconds),
        "seconds in the model": in_model,
        "model of product %": flops / in_model / bench.peak * 100,
        **bench.memory(),
    }


def _flops(path: Path, lengths: Any) -> float:
    """The arithmetic of real tokens: two FLOPs a weight of the layers, and attention over each text's own tokens."""
    config = json.loads((path / "config.json").read_text())
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    weights = layers * (4 * width**2 + 2 * width * config["intermediate_size"])
    return float(2 * weights * lengths.sum() + 4 * width * layers * (lengths.astype(np.float64) ** 2).sum())


def _plain(bench: Bench, path: Path, dtype: Any) -> Any:
    """What one would write first: `SentenceTransformer.encode`, which sorts by length itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(path), device=bench.device, model_kwargs={"dtype": dtype}, local_files_only=True)
    return partial(model.encode, batch_size=128, normalize_embeddings=True, show_progress_bar=False)


def _interrupted(encoder: Any, texts: list[str]) -> int:
    """Encode as if every second batch were known; return how many of the other vectors differ in a bit."""
    whole = list(encoder.stream([Window(texts)]))
    done = np.zeros(len(texts), bool)
    for part in whole[1::2]:
        done[part.rows] = True
    again = list(encoder.stream([Window(texts, done)]))
    pairs = zip(whole[::2], again, strict=True)
    return sum(int((first.vectors != second.vectors).any(1).sum()) for first, second in pairs)
