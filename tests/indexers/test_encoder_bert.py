"""BERT and RoBERTa are computed without their modules of transformers, and give the same vectors."""

from __future__ import annotations

from itertools import starmap

import numpy as np
import pytest
import torch
from encoder_models import TEXTS, edit, reference, save_modules
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from mnemodex.indexers.encoders import bert
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.schemas.sections import Embedding

SHORT = [*TEXTS[:3], *TEXTS[4:]]


def loaded(folder):
    """The model by torch alone, if it is a usual one."""
    return bert.load_bert(folder, AutoConfig.from_pretrained(folder), device="cpu", dtype=torch.float32)


def encoder(folder, **settings):
    return Encoder(Embedding(model=str(folder), **settings), threads=1)


def rewrite(folder, change):
    """Change the names and values of the weights of a model."""
    file = folder / "model.safetensors"
    save_file(dict(starmap(change, load_file(file).items())), file, metadata={"format": "pt"})


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("kind", ["bert", "camembert", "roberta", "xlm-roberta"])
def test_vectors_are_those_of_transformers(tmp_path, kind, activation):
    folder = edit(save_modules(tmp_path / "model", "mean", kind=kind), "config.json", hidden_act=activation)
    # Random weights near zero would hide a wrong order of layers or heads.
    rewrite(folder, lambda name, values: (name, values * 20 if values.dim() == 2 else values + 0.1))
    assert loaded(folder) is not None
    found, expected = encoder(folder), reference(folder, SHORT, normalize_embeddings=True)
    np.testing.assert_allclose(found.encode(SHORT), expected, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([found.encode([text]) for text in SHORT]), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_weights_of_a_model_with_a_head_have_a_prefix(tmp_path, kind):
    folder = save_modules(tmp_path / "model", "mean", kind=kind)
    rewrite(folder, lambda name, values: (f"{kind}.{name}", values))
    assert loaded(folder) is not None
    np.testing.assert_allclose(
        encoder(folder).encode(SHORT), reference(folder, SHORT, normalize_embeddings=True), atol=1e-6
    )


def test_weights_are_read_in_the_type_that_is_asked_for(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    expected = encoder(folder).encode(SHORT)
    rewrite(folder, lambda name, values: (name, values.half()))
    np.testing.assert_allclose(encoder(folder).encode(SHORT), expected, atol=2e-3)
    np.testing.assert_allclose(encoder(folder, dtype="bfloat16").encode(SHORT), expected, atol=3e-2)


@pytest.mark.parametrize("changes", [{"hidden_act": "gelu_new"}, {"is_decoder": True}])
def test_other_configurations_are_left_to_transformers(tmp_path, changes):
    folder = edit(save_modules(tmp_path / "model", "mean"), "config.json", **changes)
    assert loaded(folder) is None
    np.testing.assert_allclose(
        encoder(folder).encode(SHORT), reference(folder, SHORT, normalize_embeddings=True), atol=1e-6
    )


def test_other_names_of_weights_are_left_to_transformers(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    expected = encoder(folder).encode(SHORT)
    rewrite(folder, lambda name, values: (name.replace("LayerNorm.weight", "LayerNorm.gamma"), values))
    assert loaded(folder) is None
    np.testing.assert_allclose(encoder(folder).encode(SHORT), expected, atol=1e-6)


def test_a_question_is_computed_by_one_thread(tmp_path, monkeypatch):
    found = Encoder(Embedding(model=str(save_modules(tmp_path / "model", "mean"))), threads=3)
    used = []
    compute = bert.Bert.__call__

    def note(self, features):
        used.append(torch.get_num_threads())
        return compute(self, features)

    monkeypatch.setattr(bert.Bert, "__call__", note)
    question, many = found.encode(TEXTS[:1]), found.encode(TEXTS[:1] * 50)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    # Of many, each batch has a thread of its own.
    assert used == [1] * len(used) and len(used) > 3 and threads == 3
    np.testing.assert_allclose(many, np.repeat(question, 50, axis=0), atol=1e-6)
