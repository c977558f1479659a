"""Models are tried before a build: what cannot work is refused before anything is computed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import task_models
from builds import computed, manifest
from encoder_models import WIDTH, copy, edit, reference, save_modules, save_static, transformer, with_pickle
from language_models import SMALL, saved
from library import records, words_recipe, write_parts

import mnemodex
from mnemodex.indexers.models.locate import spacy_folder
from mnemodex.pipelines import trial
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import SPACY_MODEL

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def build(tmp_path):
    source = write_parts(tmp_path / "few", records()[:3], 1)

    def run(model, name="mine", **entry):
        recipe = {
            "source": {"path": str(source)},
            "memory": str(tmp_path / "memory"),
            "embed": {name: {"model": str(model), **entry}},
            "indexes": {"dense": {"type": "dense", "factory": "Flat"}},
        }
        return mnemodex.build(recipe)

    return run


def assert_nothing_computed(memory):
    assert not (memory / "tables").exists() or not list((memory / "tables").iterdir())
    assert not (memory / "CURRENT").exists()


def vectors(memory):
    opened = mnemodex.open(memory)
    return np.concatenate([np.load(path) for path in opened.snapshot.paths("embeddings/mine", ".npy")])


def passages():
    return [f"{row['title']}\n{row['text']}" for row in records()[:3]]


@pytest.mark.parametrize("what", ["static", "truncated", "no limit", "plain"])
def test_what_sentence_transformers_can_read_is_built_with(build, tmp_path, what):
    folder = save_static(tmp_path / "model") if what == "static" else save_modules(tmp_path / "model", "mean")
    if what == "truncated":
        edit(folder, "config_sentence_transformers.json", truncate_dim=10)
    if what == "no limit":
        edit(folder, "tokenizer_config.json", model_max_length=None)
        edit(folder, "sentence_bert_config.json", max_seq_length=None)
    if what == "plain":
        folder = transformer()
    assert build(folder).committed
    found = vectors(tmp_path / "memory")
    assert found.shape == (3, 10 if what == "truncated" else WIDTH)
    np.testing.assert_allclose(found, reference(folder, passages(), normalize_embeddings=True), atol=1e-6)
    assert len(mnemodex.open(tmp_path / "memory").retriever("dense").search(["a ship"], 2).chunks()[0]) == 2


@pytest.mark.parametrize(("length", "said"), [(65, 65), (4096, 4096)])
def test_more_tokens_than_the_model_has_positions_are_refused(build, tmp_path, length, said):
    folder = save_modules(tmp_path / "model", "mean")
    with pytest.raises(ModelError, match=rf"^embed\.mine: .*longer than it reads, with `max_length: {said}`.*; give a"):
        build(folder, max_length=length)
    assert_nothing_computed(tmp_path / "memory")
    assert build(folder, max_length=64).committed


def test_positions_that_a_roberta_lacks_are_found(build, tmp_path):
    folder = save_modules(tmp_path / "model", "mean", kind="roberta")
    with pytest.raises(ModelError, match="longer than it reads, with `max_length: 64`"):
        build(folder)
    assert build(folder, max_length=62).committed


def test_pickled_weights_are_refused_before_anything_is_computed(build, tmp_path):
    folder = with_pickle(copy(transformer(), tmp_path / "model"))
    with pytest.raises(ModelError, match=r"^embed\.mine: .*pytorch_model\.bin is pickled"):
        build(folder)
    assert_nothing_computed(tmp_path / "memory")


def test_a_library_that_fails_is_one_message(build, tmp_path, monkeypatch):
    class StrangeError(Exception):
        pass

    def fail(*args, **options):
        raise StrangeError("out of ink")

    monkeypatch.setattr(trial, "open_encoder", fail)
    with pytest.raises(ModelError, match=r"^embed\.mine: model .* fails .* \(StrangeError: out of ink\); "):
        build(save_modules(tmp_path / "model", "max"))
    assert_nothing_computed(tmp_path / "memory")


def test_a_model_is_tried_once(build, tmp_path, monkeypatch):
    tried = []
    encoder = trial.open_encoder
    monkeypatch.setattr(trial, "_here", set())
    monkeypatch.setattr(trial, "open_encoder", lambda spec: tried.append(spec.max_length) or encoder(spec))
    folder = save_modules(tmp_path / "model", "mean")
    build(folder)
    build(folder)
    # Another process.
    trial._here.clear()
    assert not build(folder).committed and tried == [None]
    build(folder, max_length=20)
    edit(folder, "sentence_bert_config.json", max_seq_length=30)
    build(folder)
    assert tried == [None, 20, None]


def test_a_model_is_not_tried_where_nothing_is_computed_with_it(build, tmp_path, monkeypatch):
    folder = save_modules(tmp_path / "model", "mean")
    build(folder)
    monkeypatch.setattr(trial, "_here", set())
    monkeypatch.setattr(trial, "open_encoder", lambda spec: pytest.fail("it is loaded"))
    # Its vectors are found by what made them.
    assert build(folder, name="yours").committed
    write_parts(tmp_path / "few", records()[:4], 1)
    # Of the fourth document they are not there, but those of the others were made in the same way.
    assert computed(build(folder, name="yours"))["embeddings/yours"] == 1


def test_the_models_own_prompts_decide_the_vectors_and_are_shown(build, tmp_path, cli):
    folder = save_modules(tmp_path / "model", "two")
    prompts = {"query": "query: ", "document": "passage: "}
    edit(folder, "config_sentence_transformers.json", prompts=prompts, similarity_fn_name="dot")
    build(folder)
    texts = [f"passage: {text}" for text in passages()]
    np.testing.assert_allclose(vectors(tmp_path / "memory"), reference(folder, texts), atol=1e-6)
    asked = mnemodex.open(tmp_path / "memory").encoder("mine").encode_queries(["a ship"])
    np.testing.assert_allclose(asked, reference(folder, ["query: a ship"]), atol=1e-6)
    for index in ([], ["dense"]):
        shown = cli("show", tmp_path / "memory", *index).out
        assert '"query: " (model)' in shown and '"passage: " (model)' in shown and "inner product (model)" in shown
    again = build(folder, query_prefix="", passage_prefix="", normalize=True)
    assert computed(again)["embeddings/mine"] == 1
    expected = reference(folder, passages(), normalize_embeddings=True)
    np.testing.assert_allclose(vectors(tmp_path / "memory"), expected, atol=1e-6)
    build(folder, query_prefix="ask: ", passage_prefix="passage: ", normalize=True)
    for index in ([], ["dense"]):
        shown = cli("show", tmp_path / "memory", *index).out
        assert '"ask: " (recipe)' in shown and '"passage: " (model)' in shown and "cosine (recipe)" in shown


def test_a_model_without_prompts_keeps_the_identity_of_written_defaults(build, tmp_path):
    folder = save_modules(tmp_path / "model", "mean")
    assert build(folder, query_prefix="", passage_prefix="", normalize=True).committed
    assert not build(folder).committed
    settings = manifest(tmp_path / "memory").encoders["mine"].settings
    assert (settings["query_prefix"], settings["passage_prefix"], settings["normalize"]) == ("", "", True)


@pytest.mark.parametrize("damage", ["pickled", "window"])
def test_a_language_model_is_tried(tmp_path, damage):
    import transformers

    folder = tmp_path / "lm"
    config = transformers.AutoConfig.for_model("llama", **SMALL, num_key_value_heads=2)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    shutil.copy(transformer() / "tokenizer.json", folder)
    source = write_parts(tmp_path / "few", records()[:3], 1)
    recipe = words_recipe(
        source,
        tmp_path / "memory",
        lm={"small": {"model": str(folder), "window": 4096 if damage == "window" else 32, "overlap": 8}},
        indexes={"next": {"type": "knn_lm", "factory": "Flat"}},
    )
    if damage == "pickled":
        with_pickle(folder)
    said = "is pickled" if damage == "pickled" else "tokens at most, but `window` is 4096"
    with pytest.raises(ModelError, match=rf"^lm\.small: model .*{said}"):
        mnemodex.build(recipe)
    assert_nothing_computed(tmp_path / "memory")


@pytest.mark.parametrize("damage", ["pickle", "torch", "name", "cut"])
def test_a_spacy_model_is_tried(tmp_path, damage):
    pytest.importorskip("spacy")
    folder = shutil.copytree(spacy_folder(SPACY_MODEL), tmp_path / "spacy")
    content = {"pickle": b"\x80\x04\x95\x00", "torch": b"PK\x03\x04", "name": b"anything", "cut": b"\x81"}[damage]
    target = {"name": "ner/extra.pkl", "cut": "ner/model"}.get(damage, "ner/weights.bin")
    (folder / target).write_bytes(content)
    source = write_parts(tmp_path / "few", records()[:3], 1)
    triples = {"extractor": "spacy", "model": str(folder)}
    recipe = words_recipe(source, tmp_path / "memory", triples=triples)
    with pytest.raises(ModelError, match="cannot be loaded" if damage == "cut" else "is pickled, and is not read"):
        mnemodex.build(recipe)
    assert_nothing_computed(tmp_path / "memory")


def test_other_weights_of_a_spacy_model_are_noticed(tmp_path):
    pytest.importorskip("spacy")
    folder = shutil.copytree(spacy_folder(SPACY_MODEL), tmp_path / "spacy")
    source = write_parts(tmp_path / "few", records()[:3], 1)
    triples = {"extractor": "spacy", "model": str(folder)}
    recipe = words_recipe(source, tmp_path / "memory", triples=triples)
    mnemodex.build(recipe)
    (folder / "note.bin").write_bytes(b"other")
    assert "triples" in computed(mnemodex.build(recipe))


CUT = b"\x10\x00\x00\x00\x00\x00\x00\x00{"
"""The beginning of weights whose rest is missing."""


@pytest.fixture
def build_pairs(tmp_path):
    """Builds with generated pairs, with models of the tests for what is not given."""
    pytest.importorskip("spacy")
    source = write_parts(tmp_path / "few", records()[:3], 1)

    def run(**section):
        if "generator" not in section:
            section = {"generator": "model", "model": saved("t5", tmp_path / "t5"), "max_tokens": 4, **section}
        return mnemodex.build(words_recipe(source, tmp_path / "memory", qa_pairs=section))

    return run


@pytest.mark.parametrize(
    ("at", "task"),
    [
        ("passages", "SequenceClassification"),
        ("answers", "QuestionAnswering"),
        ("filter", "QuestionAnswering"),
    ],
)
def test_the_models_around_a_generator_are_tried(build_pairs, tmp_path, at, task):
    name = task_models.saved(task, tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(CUT)
    given = {"passages": {}, "answers": {"by": "model"}, "filter": {"by": "local"}}[at]
    with pytest.raises(ModelError, match=rf"^qa_pairs\.{at}: model '{name}' .*cannot be loaded") as raised:
        build_pairs(**{at: {**given, "model": name}})
    assert str(raised.value).count("\n") == 0
    assert_nothing_computed(tmp_path / "memory")


@pytest.mark.parametrize("at", ["model", "filter"])
def test_the_language_models_of_pairs_are_tried(build_pairs, tmp_path, at):
    name = saved("llama", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(CUT)
    section = {"model": name} if at == "model" else {"filter": {"by": "local", "model": name}}
    where = "qa_pairs" if at == "model" else r"qa_pairs\.filter"
    with pytest.raises(ModelError, match=rf"^{where}: .*{name}"):
        build_pairs(**section)
    assert_nothing_computed(tmp_path / "memory")


@pytest.mark.parametrize("at", ["rules", "answers"])
def test_the_parsers_of_pairs_are_tried(build_pairs, tmp_path, at):
    folder = shutil.copytree(spacy_folder(SPACY_MODEL), tmp_path / "spacy")
    (folder / "ner" / "model").write_bytes(b"\x81")
    section = {"answers": {"spacy": str(folder)}}
    if at == "rules":
        section = {"generator": "rules", "model": str(folder)}
    with pytest.raises(ModelError, match=rf"^qa_pairs.*{folder}.*cannot be loaded"):
        build_pairs(**section)
    assert_nothing_computed(tmp_path / "memory")
