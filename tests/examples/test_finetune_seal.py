"""The example that fine-tunes a model on pairs: on models of some thousand weights."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from small_memory import build_inline, write_corpus
from tokenizer_models import byte_level, save
from tokenizers import Tokenizer

from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.retrievers.readers.seal_decoder import end_of_title, prompts_for
from mnemodex.schemas.errors import ModelError, QueryError

PAIRS = {"unsupervised": 2, "length": 5}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def example():
    path = Path(__file__).parents[2] / "examples" / "finetune_seal.py"
    spec = importlib.util.spec_from_file_location("finetune_seal", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["finetune_seal"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ending():
    """A byte-level tokenizer with a token that ends a text."""
    made = Tokenizer.from_str(byte_level().to_str())
    made.add_special_tokens(["<end>"])
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory, ending):
    """Folders of a causal and an encoder-decoder model, with random weights and one tokenizer."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    folder, size, end = tmp_path_factory.mktemp("models"), ending.get_vocab_size(), ending.token_to_id("<end>")
    ends = {"vocab_size": size, "bos_token_id": end, "eos_token_id": end, "pad_token_id": 0}
    causal = GPT2Config(n_positions=256, n_embd=32, n_layer=1, n_head=2, **ends)
    other = T5Config(d_model=32, d_ff=32, d_kv=16, num_layers=1, num_heads=2, decoder_start_token_id=0, **ends)
    for name, model in (("causal", GPT2LMHeadModel(causal)), ("encoder", T5ForConditionalGeneration(other))):
        model.save_pretrained(save(ending, folder / name))
    return {name: str(folder / name) for name in ("causal", "encoder")}


@pytest.fixture(scope="module")
def memory(tmp_path_factory, models):
    folder = tmp_path_factory.mktemp("memory")
    write_corpus(folder / "source", "a.jsonl", range(12))
    pairs = {"train": {**PAIRS, "tokenizer": models["causal"]}, "other": PAIRS}
    build_inline(folder / "source", folder / "memory", {}, ngram_pairs=pairs)
    return folder / "memory"


def examples(example, memory, model):
    lm = LanguageModel(model)
    pairs = example.read_pairs(memory, "train", model)
    return lm, pairs, example.Examples(pairs, lm, prompts_for(lm))


@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_two_steps_give_a_model_that_can_be_named_in_a_recipe(example, memory, models, tmp_path, capsys, kind):
    import torch

    output = tmp_path / "tuned"
    example.main(
        [str(memory), "train", "--model", models[kind], "--output", str(output), "--steps", "2", "--batch", "4"]
    )
    assert f"seal: {{type: seal, of: ngrams, model: {output}}}" in capsys.readouterr().out
    assert (output / "model.safetensors").is_file() and not list(output.glob("*.bin"))
    tuned, former = LanguageModel(str(output)), LanguageModel(models[kind])
    assert tokenizer_hash(str(output)) == tokenizer_hash(models[kind])
    weights = zip(tuned.model.parameters(), former.model.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in weights)
    assert tuned.size == former.size


def test_a_causal_model_reads_the_prompt_and_is_trained_on_the_target_alone(example, memory, models, ending):
    lm, pairs, made = examples(example, memory, models["causal"])
    fields = set()
    for row, pair in enumerate(pairs.to_pylist()):
        found = made[row]
        at = [place for place, label in enumerate(found["labels"]) if label != example.IGNORED]
        prompt = ending.decode(found["input_ids"][: at[0]], skip_special_tokens=False)
        assert prompt == prompts_for(lm)[pair["field"]].replace("{question}", pair["query"])
        target = pair["tokens"] + ([end_of_title(lm)] if pair["field"] == "title" else [])
        assert None not in target
        assert found["labels"][at[0] :] == found["input_ids"][at[0] :] == target
        fields.add(pair["field"])
    assert fields == {"body", "title"} and len(made) == pairs.num_rows > 20


def test_an_encoder_reads_the_prompt_and_the_decoder_writes_the_target(example, memory, models, ending):
    _, pairs, made = examples(example, memory, models["encoder"])
    for row, pair in enumerate(pairs.to_pylist()):
        target = pair["tokens"] + ([ending.token_to_id("<end>")] if pair["field"] == "title" else [])
        assert ending.decode(made[row]["input_ids"]) == f"{pair['query']} || {pair['field']}"
        assert made[row]["labels"] == target


def test_the_loss_of_a_batch_is_that_of_its_targets_one_by_one(example, memory, models):
    import torch

    loaded, _, made = examples(example, memory, models["causal"])
    rows = sorted((made[row] for row in range(len(made))), key=lambda one: len(one["input_ids"]))
    some = [rows[0], rows[-1], rows[len(rows) // 2]]
    lost = []
    with torch.no_grad():
        for one in some:
            ids = torch.tensor([one["input_ids"]])
            told = loaded.model.eval()(input_ids=ids).logits[0].log_softmax(-1)
            places = [place for place, label in enumerate(one["labels"]) if label != example.IGNORED]
            lost += [-told[place - 1, one["input_ids"][place]].item() for place in places]
        assert loaded.model(**example.collate(some)).loss.item() == pytest.approx(sum(lost) / len(lost), rel=1e-4)


@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_the_loss_falls(example, memory, models, kind):
    loaded, _, made = examples(example, memory, models[kind])
    trainer = example.train(loaded, made, steps=20, batch=8, rate=1e-2, log_steps=5)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 4 and losses[-1] < losses[0] - 1


def test_pairs_that_are_not_there_or_of_another_tokenizer_are_refused(example, memory, models):
    with pytest.raises(QueryError, match="no pairs 'trian'; there are: train, other"):
        example.read_pairs(memory, "trian", models["causal"])
    with pytest.raises(ModelError, match=r"another tokenizer than .*causal' has; set `ngram_pairs\.other\.tokenizer`"):
        example.read_pairs(memory, "other", models["causal"])
