"""Encoders of usual modules are read without sentence-transformers, and give its vectors; others are read by it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from encoder_models import (
    MODES,
    TEXTS,
    WIDTH,
    copy,
    edit,
    reference,
    save_modules,
    save_static,
    transformer,
    with_pickle,
)

from mnemodex.indexers.encoders.configuration import Unusual, stated_dimension
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.encoders.modules import load_usual
from mnemodex.indexers.encoders.own import own_of, with_own
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import Embedding


def encoder(folder, **settings):
    return Encoder(Embedding(model=str(folder), **settings), threads=1)


def is_usual(folder):
    import torch

    try:
        load_usual(folder, device="cpu", dtype=torch.float32)
    except Unusual:
        return False
    return True


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("what", [*MODES, "two", "dense", "dense, ReLU", "plain activation"])
def test_usual_modules_give_the_vectors_of_sentence_transformers(tmp_path, what, normalize):
    folder = save_modules(tmp_path / "model", what)
    found = encoder(folder, normalize=normalize)
    expected = reference(folder, normalize_embeddings=normalize)
    assert is_usual(folder) and found.dimension == expected.shape[1] == stated_dimension(folder)
    np.testing.assert_allclose(found.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("what", ["residual", "layer norm", "of names"])
def test_unusual_modules_are_left_to_sentence_transformers(tmp_path, what):
    folder = save_modules(tmp_path / "model", what)
    assert not is_usual(folder)
    np.testing.assert_allclose(encoder(folder).encode(TEXTS), reference(folder, normalize_embeddings=True), atol=1e-6)


@pytest.mark.parametrize("kind", ["roberta", "electra", "distilbert"])
def test_other_kinds_of_transformers(tmp_path, kind):
    folder = save_modules(tmp_path / "model", "mean", kind=kind)
    assert is_usual(folder)
    short = [*TEXTS[:3], *TEXTS[4:]]
    np.testing.assert_allclose(encoder(folder).encode(short), reference(folder, short), atol=1e-6)


def test_a_model_without_modules_gives_the_mean(tmp_path):
    folder = copy(transformer(), tmp_path / "model")
    assert is_usual(folder)
    np.testing.assert_allclose(encoder(folder, normalize=False).encode(TEXTS), reference(folder), atol=1e-6)


def test_older_files_and_newer_ones_mean_the_same(tmp_path):
    folder = save_modules(tmp_path / "model", "two")
    expected = encoder(folder).encode(TEXTS)
    older = {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**older, "pooling_mode_mean_tokens": False}))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    types = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    paths = ["", "1_Pooling"]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": type_}
        for number, (path, type_) in enumerate(zip(paths, types, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert is_usual(folder)
    # Older files join the ways of pooling in an order of their own.
    swapped = np.concatenate([expected[:, WIDTH:], expected[:, :WIDTH]], axis=1)
    np.testing.assert_allclose(encoder(folder).encode(TEXTS), swapped, atol=1e-6)
    np.testing.assert_allclose(swapped, reference(folder, normalize_embeddings=True), atol=1e-6)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_static_model_averages_the_vectors_of_its_tokens(tmp_path, normalized):
    from sentence_transformers.models import Normalize

    folder = save_static(tmp_path / "model", *([Normalize()] if normalized else []))
    found = encoder(folder, normalize=False)
    assert is_usual(folder) and (found.dimension, found.max_length) == (WIDTH, 128)
    np.testing.assert_allclose(found.encode(TEXTS), reference(folder), atol=1e-6)
    assert encoder(folder, max_length=7).encode(TEXTS).shape == (len(TEXTS), WIDTH)


@pytest.mark.parametrize("what", ["mapping", "weights", "both"])
def test_model2vecs_own_names_of_weights(tmp_path, what):
    import torch
    from safetensors.torch import load_file, save_file

    folder = save_static(tmp_path / "model")
    table = load_file(folder / "model.safetensors")["embedding.weight"]
    weights = {"embeddings": table}
    if what != "weights":
        weights = {"embeddings": table[:500].contiguous(), "mapping": torch.arange(len(table)) % 500}
    if what != "mapping":
        weights["weights"] = torch.linspace(0.5, 2, len(table))
    save_file(weights, folder / "model.safetensors")
    np.testing.assert_allclose(encoder(folder).encode(TEXTS), reference(folder, normalize_embeddings=True), atol=1e-6)


def test_truncated_vectors_get_length_one_afterwards(tmp_path):
    folder = save_modules(tmp_path / "model", "mean", truncate_dim=10)
    found = encoder(folder)
    assert is_usual(folder) and found.dimension == stated_dimension(folder) == 10
    np.testing.assert_allclose(found.encode(TEXTS), reference(folder, normalize_embeddings=True), atol=1e-6)
    slow = save_modules(tmp_path / "slow", "layer norm", truncate_dim=10)
    np.testing.assert_allclose(encoder(slow).encode(TEXTS), reference(slow, normalize_embeddings=True), atol=1e-6)


def test_a_tokenizer_without_a_limit_is_cut_at_the_models_positions(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    edit(folder, "tokenizer_config.json", model_max_length=None)
    edit(folder, "sentence_bert_config.json", max_seq_length=None)
    found = encoder(folder)
    assert found.max_length == 64
    np.testing.assert_allclose(found.encode(TEXTS), reference(folder), atol=1e-6)


def test_missing_weights_are_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy(transformer(), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(key for key in weights if "layer.1" in key))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"cannot be loaded as an encoder: its weights lack encoder\.layer\.1"):
        encoder(folder)


@pytest.mark.parametrize("what", ["plain", "modules", "dense", "static", "layer norm"])
def test_pickled_weights_are_refused(tmp_path, what):
    if what == "static":
        folder = save_static(tmp_path / "model")
    else:
        folder = save_modules(tmp_path / "model", what if what in ("dense", "layer norm") else "mean")
    if what == "plain":
        (folder / "modules.json").unlink()
    with_pickle(folder / "2_Dense" if what == "dense" else folder)
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is pickled, and is not read.*safetensors"):
        encoder(folder)


def test_pickles_besides_safetensors_are_not_read(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    expected = encoder(folder).encode(TEXTS)
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    assert np.array_equal(encoder(folder).encode(TEXTS), expected)


def test_an_adapter_is_refused_for_its_model_is_not_hashed(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter, whose model lies elsewhere"):
        encoder(folder)


def test_weights_of_another_folder_are_refused(tmp_path):
    folder = copy(transformer(), tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="names weights outside its folder"):
        encoder(folder)


def test_code_of_a_model_never_runs(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    (folder / "custom.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: pass\n")
    for kind in ("custom.Module", "os.path.join"):
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["type"] = kind
        (folder / "modules.json").write_text(json.dumps(modules))
        with pytest.raises(ModelError, match="cannot be loaded as an encoder"):
            encoder(folder)
    other = copy(transformer(), tmp_path / "other")
    (other / "custom.py").write_text((folder / "custom.py").read_text())
    edit(other, "config.json", model_type="strange", auto_map={"AutoModel": "custom.Module", "AutoConfig": "custom.A"})
    with pytest.raises(ModelError, match="cannot be loaded as an encoder"):
        encoder(other)
    assert not (tmp_path / "ran").exists()


def test_what_is_loaded_by_a_link_is_hashed(tmp_path):
    folder = save_modules(tmp_path / "model", "dense")
    (folder / "2_Dense").rename(tmp_path / "dense")
    (folder / "2_Dense").symlink_to(tmp_path / "dense")
    before = model_hash(str(folder))
    edit(tmp_path / "dense", "config.json", activation_function="torch.nn.modules.activation.ReLU")
    assert model_hash(str(folder)) != before


OWN = {"prompts": {"query": "query: ", "document": "passage: "}, "default_prompt_name": "query"}


@pytest.mark.parametrize(
    ("config", "prefixes"),
    [
        (OWN, ("query: ", "passage: ")),
        ({"prompts": {"query": "Q ", "passage": "P "}}, ("Q ", "P ")),
        ({"prompts": {"query": "", "document": "", "corpus": "C "}}, ("", "C ")),
        ({"prompts": {"s2s": "same: "}, "default_prompt_name": "s2s"}, ("", "")),
        ({"prompts": {"query": None}}, ("", "")),
        ({}, ("", "")),
    ],
)
def test_the_models_own_prompts_apply(tmp_path, config, prefixes):
    folder = edit(save_modules(tmp_path / "model", "mean"), "config_sentence_transformers.json", **config)
    found = encoder(folder)
    assert (found.settings.query_prefix, found.settings.passage_prefix) == prefixes
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(found.encode_queries(["apples"]), model.encode_query(["apples"]), atol=1e-6)
    passage = found.encode([found.settings.passage_prefix + "apples"])
    # With its own empty prompt "document" it passes over the others, which is not what such a model's author meant.
    expected = model.encode_document(["apples"], prompt=prefixes[1])
    np.testing.assert_allclose(passage, expected, atol=1e-6)


def test_what_the_recipe_says_is_not_filled_in(tmp_path):
    folder = edit(save_modules(tmp_path / "model", "two"), "config_sentence_transformers.json", **OWN)
    edit(folder, "config_sentence_transformers.json", similarity_fn_name="dot")
    model = str(folder)
    assert with_own(Embedding(model=model)).normalize is False
    said = with_own(Embedding(model=model, query_prefix="", normalize=True))
    assert (said.query_prefix, said.passage_prefix, said.normalize) == ("", "passage: ", True)
    whole = Embedding(model="pkg:nothing/there", query_prefix="", passage_prefix="a", normalize=False)
    assert with_own(whole) is whole


@pytest.mark.parametrize(
    ("similarity", "modules", "normalize"),
    [("dot", "two", False), ("dot", "mean", True), ("cosine", "two", True), (None, "two", True)],
)
def test_the_models_own_similarity_applies(tmp_path, similarity, modules, normalize):
    folder = save_modules(tmp_path / "model", modules)
    edit(folder, "config_sentence_transformers.json", similarity_fn_name=similarity)
    assert with_own(Embedding(model=str(folder))).normalize is normalize


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_other_similarities_are_asked_for(tmp_path, similarity):
    folder = save_modules(tmp_path / "model", "two")
    edit(folder, "config_sentence_transformers.json", similarity_fn_name=similarity)
    with pytest.raises(ModelError, match=rf"compares vectors by {similarity}; say in .*`normalize: true`"):
        with_own(Embedding(model=str(folder)))
    assert with_own(Embedding(model=str(folder), normalize=False)).normalize is False


def test_a_damaged_configuration_is_named(tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    for damaged in ("{", '{"prompts": {"query": 3}}', '{"prompts": []}', "[]"):
        (folder / "config_sentence_transformers.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"config_sentence_transformers\.json .*is damaged"):
            with_own(Embedding(model=str(folder)))
        assert own_of(Embedding(model=str(folder), query_prefix="", passage_prefix="", normalize=True)) == ()


def test_the_default_model_is_read_without_slow_imports():
    code = (
        "import sys\n"
        "from mnemodex.indexers.encoders import open_encoder\n"
        "from mnemodex.schemas.sections import Embedding\n"
        "open_encoder(Embedding()).encode(['a ship'])\n"
        "slow = {'sentence_transformers', 'sklearn', 'transformers.modeling_utils', 'torch._dynamo'}\n"
        "print(slow & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
