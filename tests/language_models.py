"""Tiny language models of several architectures, with random weights and the byte-level tokenizer of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizer_models import byte_level, save

from mnemodex.indexers.models.language_model import LanguageModel

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODER_DECODER = {"d_model": 32, "max_position_embeddings": 128, "vocab_size": 400}


def make(kind: str):
    """A transformers model; weights large enough that its opinions differ."""
    import transformers as t

    torch.manual_seed(7)
    configs = {
        "gpt2": lambda: t.GPT2Config(vocab_size=400, n_positions=128, n_embd=32, n_layer=2, n_head=2, eos_token_id=3),
        "llama": lambda: t.LlamaConfig(vocab_size=400, num_key_value_heads=2, max_position_embeddings=128, **SMALL),
        "opt": lambda: t.OPTConfig(
            vocab_size=400,
            ffn_dim=48,
            num_hidden_layers=2,
            word_embed_proj_dim=32,
            max_position_embeddings=128,
            hidden_size=32,
            num_attention_heads=4,
        ),
        "bart": lambda: t.BartConfig(
            encoder_layers=1,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            **ENCODER_DECODER,
        ),
        "t5": lambda: t.T5Config(
            vocab_size=400, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0
        ),
    }
    config = configs[kind]()
    classes = {"bart": t.BartForConditionalGeneration, "t5": t.T5ForConditionalGeneration}
    model = classes[kind](config) if kind in classes else t.AutoModelForCausalLM.from_config(config)
    if kind == "bart":
        model.generation_config.forced_bos_token_id = 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return model


def saved(kind: str, folder: Path) -> str:
    """The name of such a model: the folder that it was saved in."""
    make(kind).save_pretrained(folder)
    return save(byte_level(), folder)


def loaded(kind: str, folder: Path) -> LanguageModel:
    """Such a model, loaded by its name; in doubles, so that no two ways of computing it rank anything differently."""
    lm = LanguageModel(saved(kind, folder))
    lm.model.double()
    return lm
