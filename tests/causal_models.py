"""Tiny causal models of many architectures with random weights, and where in each of them the keys are, by hand."""

from __future__ import annotations

from typing import NamedTuple

import torch
from language_models import SMALL

FEW = {"num_key_value_heads": 2}
GPT2 = {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 2}
BASE = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
MOE = {**SMALL, **FEW, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
BERT = {**SMALL, "is_decoder": True}
OPT = {**BASE, "ffn_dim": 48, "max_position_embeddings": 128}
BART = {
    "d_model": 32,
    "decoder_layers": 2,
    "encoder_layers": 1,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "is_decoder": True,
    "is_encoder_decoder": False,
}
FULL = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6, "head_dim": 8}


class Places(NamedTuple):
    """Paths of modules: the feed-forward part's, whose input is read, the last block, the body and the output layer."""

    feed_forward: str | None
    block: str
    body: str
    head: str


LLAMA = Places("model.layers.1.mlp", "model.layers.1", "model", "lm_head")
GPT = Places("transformer.h.1.mlp", "transformer.h.1", "transformer", "lm_head")
DECODER = Places("model.decoder.layers.1.fc1", "model.decoder.layers.1", "model.decoder", "lm_head")
MAMBA = Places(None, "backbone.layers.1", "backbone", "lm_head")

MODELS: dict[str, tuple[str, dict, Places]] = {
    "gpt2": ("GPT2Config", GPT2, GPT),
    "gpt_bigcode": ("GPTBigCodeConfig", GPT2, GPT),
    "gpt_neo": (
        "GPTNeoConfig",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
        | {"window_size": 6, "max_position_embeddings": 128},
        GPT,
    ),
    "gptj": ("GPTJConfig", {**GPT2, "rotary_dim": 4}, GPT),
    "codegen": ("CodeGenConfig", {**GPT2, "n_head": 4, "rotary_dim": 4}, GPT),
    "ctrl": (
        "CTRLConfig",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "dff": 48, "n_positions": 128},
        Places("transformer.h.1.ffn", "transformer.h.1", "transformer", "lm_head"),
    ),
    "gpt_neox": (
        "GPTNeoXConfig",
        SMALL,
        Places("gpt_neox.layers.1.mlp", "gpt_neox.layers.1", "gpt_neox", "lm_head"),
    ),
    "gpt_neox in series": (
        "GPTNeoXConfig",
        {**SMALL, "use_parallel_residual": False},
        Places("gpt_neox.layers.1.mlp", "gpt_neox.layers.1", "gpt_neox", "lm_head"),
    ),
    "gpt_oss": ("GptOssConfig", {**MOE, **FULL, "num_local_experts": 4}, LLAMA),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, GPT),
    "mpt": (
        "MptConfig",
        {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128},
        Places("transformer.blocks.1.ffn", "transformer.blocks.1", "transformer", "lm_head"),
    ),
    "falcon": ("FalconConfig", BASE, GPT),
    "falcon with alibi": ("FalconConfig", {**BASE, "alibi": True, "parallel_attn": False}, GPT),
    "falcon of two norms": ("FalconConfig", {**BASE, "new_decoder_architecture": True, "num_kv_heads": 2}, GPT),
    "opt": ("OPTConfig", {**OPT, "word_embed_proj_dim": 32}, DECODER),
    "opt of two widths": ("OPTConfig", {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False}, DECODER),
    "opt as wide inside": ("OPTConfig", {**OPT, "word_embed_proj_dim": 32, "ffn_dim": 32}, DECODER),
    "xglm": (
        "XGLMConfig",
        {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48, "max_position_embeddings": 128},
        Places("model.layers.1.fc1", "model.layers.1", "model", "lm_head"),
    ),
    "biogpt": (
        "BioGptConfig",
        {**SMALL, "max_position_embeddings": 128},
        Places("biogpt.layers.1.fc1", "biogpt.layers.1", "biogpt", "output_projection"),
    ),
    "bart's decoder": ("BartConfig", {**BART, "max_position_embeddings": 128}, DECODER),
    "bert": (
        "BertConfig",
        BERT,
        Places("bert.encoder.layer.1.intermediate", "bert.encoder.layer.1", "bert", "cls.predictions.decoder"),
    ),
    "roberta": (
        "RobertaConfig",
        BERT,
        Places("roberta.encoder.layer.1.intermediate", "roberta.encoder.layer.1", "roberta", "lm_head.decoder"),
    ),
    "llama": ("LlamaConfig", {**SMALL, **FEW}, LLAMA),
    "mistral": ("MistralConfig", {**SMALL, **FEW, "sliding_window": 6}, LLAMA),
    "mixtral": ("MixtralConfig", {**SMALL, **FEW, "num_local_experts": 4}, LLAMA),
    "mixtral with its routers' loss": (
        "MixtralConfig",
        {**SMALL, **FEW, "num_local_experts": 4, "output_router_logits": True},
        LLAMA,
    ),
    "qwen2": ("Qwen2Config", {**SMALL, **FEW}, LLAMA),
    "qwen2_moe": ("Qwen2MoeConfig", {**MOE, "num_experts": 4, "shared_expert_intermediate_size": 16}, LLAMA),
    "qwen3": ("Qwen3Config", {**SMALL, **FEW, "head_dim": 8}, LLAMA),
    "qwen3_moe": ("Qwen3MoeConfig", {**MOE, "num_experts": 4}, LLAMA),
    "gemma": ("GemmaConfig", {**SMALL, **FEW, "head_dim": 8}, LLAMA),
    "gemma2": ("Gemma2Config", {**SMALL, **FEW, **FULL, "final_logit_softcapping": 3.0}, LLAMA),
    "gemma3": ("Gemma3TextConfig", {**SMALL, **FEW, **FULL, "final_logit_softcapping": 3.0}, LLAMA),
    "phi": ("PhiConfig", SMALL, LLAMA),
    "phi3": ("Phi3Config", {**SMALL, **FEW}, LLAMA),
    "cohere": ("CohereConfig", {**SMALL, **FEW}, LLAMA),
    "cohere2": ("Cohere2Config", {**SMALL, **FEW, **FULL}, LLAMA),
    "stablelm": ("StableLmConfig", {**SMALL, **FEW, "use_parallel_residual": True}, LLAMA),
    "starcoder2": ("Starcoder2Config", {**SMALL, **FEW}, LLAMA),
    "olmo2": ("Olmo2Config", {**SMALL, **FEW}, LLAMA),
    "granite": ("GraniteConfig", {**SMALL, **FEW, "logits_scaling": 4.0}, LLAMA),
    "granitemoeshared": (
        "GraniteMoeSharedConfig",
        {**SMALL, **FEW, "num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 16},
        LLAMA._replace(feed_forward="model.layers.1.block_sparse_moe"),
    ),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {**SMALL, "block_types": ["recurrent", "attention"], "attention_window_size": 6, "lru_width": 32},
        LLAMA._replace(feed_forward="model.layers.1.mlp_block"),
    ),
    "falcon_h1": (
        "FalconH1Config",
        {**SMALL, **FEW, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
        LLAMA._replace(feed_forward="model.layers.1.feed_forward"),
    ),
    "jamba": (
        "JambaConfig",
        {**SMALL, **FEW, "attn_layer_period": 2, "attn_layer_offset": 0, "num_experts": 2},
        LLAMA._replace(feed_forward="model.layers.1.feed_forward"),
    ),
    "rwkv": (
        "RwkvConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "attention_hidden_size": 32},
        Places("rwkv.blocks.1.feed_forward", "rwkv.blocks.1", "rwkv", "head"),
    ),
    "mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, MAMBA),
}
"""Of each model its configuration's class, its settings besides the vocabulary, and its places."""


def make(kind: str, *, vocabulary: int = 120) -> torch.nn.Module:
    """A model in evaluation mode, its weights large enough that its opinions differ."""
    import transformers

    name, settings, _ = MODELS[kind]
    torch.manual_seed(5)
    config = getattr(transformers, name)(vocab_size=vocabulary, pad_token_id=0, **settings)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    return model.eval()


def places(kind: str) -> Places:
    """Where its keys are."""
    return MODELS[kind][2]
