"""Tiny classifiers and span models with random weights, on the tokenizer of the default encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizer_models import minilm, save

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def saved(task: str, folder: Path, *, kind: str = "bert", places: int = 64, **options: object) -> str:
    """The name of a model for "SequenceClassification" or "QuestionAnswering": the folder that it was saved in."""
    import transformers

    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=30522, max_position_embeddings=places, pad_token_id=0, **SIZES, **options
    )
    model = getattr(transformers, f"AutoModelFor{task}").from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    return save(minilm(), folder)
