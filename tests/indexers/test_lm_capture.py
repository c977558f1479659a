"""Keys of causal models of many architectures, against hooks on modules that are named by hand."""

from __future__ import annotations

import causal_models
import pytest
import torch
from language_models import make

from mnemodex.indexers.lm.capture import Captured, KeyCapture, structure
from mnemodex.schemas.errors import ModelError

KINDS = ["ffn_input", "block_output", "final_hidden", "lm_head_input"]
MODELS = list(causal_models.MODELS)
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.tensor([[5, 80, 7, 33, 91, 12, 5, 64, 3], [9, 9, 41, 8, 77, 30, 2, 115, 6]])


def tensor(given):
    return given if torch.is_tensor(given) else tensor(given[0])


def by_hand(model, kind):
    """The keys of each kind, by hooks on the model's modules by their paths."""
    places, found, hooks = causal_models.places(kind), {}, []

    def put(key, path, *, before):
        def keep(module, args, named, output=None):
            given = tensor(args or named["hidden_states"]) if before else tensor(output)
            found[key] = given.reshape(*IDS.shape, -1)

        module = model.get_submodule(path)
        register = module.register_forward_pre_hook if before else module.register_forward_hook
        hooks.append(register(keep, with_kwargs=True))

    if places.feed_forward is not None:
        put("ffn_input", places.feed_forward, before=True)
    put("block_output", places.block, before=False)
    put("final_hidden", places.body, before=False)
    put("lm_head_input", places.head, before=True)
    with torch.no_grad():
        output = model(input_ids=IDS, use_cache=False, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    return found, output


@pytest.mark.parametrize("kind", MODELS)
def test_keys_are_those_of_the_modules_that_have_them(kind):
    model = causal_models.make(kind)
    expected, output = by_hand(model, kind)
    for key in expected:
        with torch.no_grad(), KeyCapture(model, key) as capture:
            logits = model(input_ids=IDS, use_cache=False).logits
        torch.testing.assert_close(capture.last, expected[key], rtol=0, atol=0)
        torch.testing.assert_close(logits, output.logits, rtol=0, atol=0)
    torch.testing.assert_close(expected["final_hidden"], output.hidden_states[-1], rtol=0, atol=0)
    assert len(output.hidden_states) == 3


@pytest.mark.parametrize("key", KINDS)
def test_a_pass_that_is_to_stop_ends_with_its_keys(key):
    model = causal_models.make("gemma2")
    with torch.no_grad():
        with KeyCapture(model, key) as whole:
            model(input_ids=IDS)
        stopped, ran = KeyCapture(model, key, stop=True), []
        model.lm_head.register_forward_hook(lambda *_: ran.append(1))
        with stopped, pytest.raises(Captured):
            model(input_ids=IDS)
    torch.testing.assert_close(stopped.last, whole.last, rtol=0, atol=0)
    assert not ran


@pytest.mark.parametrize("kind", ["gpt2", "opt", "mixtral"])
def test_the_model_is_left_as_it_was(kind):
    model = causal_models.make(kind)
    model.train()
    model.get_submodule(causal_models.places(kind).block).eval()
    before = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    seen = []
    hook = model.register_forward_hook(lambda *_: seen.append(1))
    with KeyCapture(model, "ffn_input"):
        pass
    hook.remove()
    assert not seen and torch.equal(random, torch.get_rng_state())
    assert [part.training for part in model.modules()] == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_hooks_are_gone_after_an_error():
    model = causal_models.make("llama")
    model.model.layers[1].mlp.forward = None
    with pytest.raises(TypeError):
        structure(model)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_the_feed_forward_part_is_found_whatever_it_is_called_and_wherever_it_is_declared():
    model = causal_models.make("gptj")
    block = model.transformer.h[1]
    attention, block_mlp = block._modules.pop("attn"), block._modules.pop("mlp")
    block._modules = {"first": block_mlp, "attention": block_mlp, **block._modules, "mlp": attention}
    block.forward = lambda hidden, **named: hidden + block.first(hidden) + block.mlp(block.ln_1(hidden), **named)[0]
    assert structure(model).feed_forward is block_mlp


def test_half_precision_is_looked_at_too():
    for kind in ("llama", "mixtral", "opt", "gemma2"):
        model = causal_models.make(kind).bfloat16()
        assert structure(model).feed_forward is model.get_submodule(causal_models.places(kind).feed_forward)


def test_a_model_without_a_feed_forward_part_is_told_with_the_remedy():
    model = causal_models.make("mamba")
    with pytest.raises(ModelError, match=r"MambaForCausalLM has no feed-forward part.* set `key: block_output` or"):
        KeyCapture(model, "ffn_input")


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_model_with_an_encoder_is_refused(kind):
    with pytest.raises(ModelError, match="has an encoder: keys are those of a decoder-only language model"):
        KeyCapture(make(kind), "final_hidden")


def test_a_model_of_no_stack_of_blocks_is_refused():
    import transformers

    config = transformers.XLMConfig(vocab_size=60, emb_dim=32, n_layers=2, n_heads=2, causal=True)
    with pytest.raises(ModelError, match="XLMWithLMHeadModel is not built of decoder blocks that follow each other"):
        KeyCapture(transformers.XLMWithLMHeadModel(config), "final_hidden")
