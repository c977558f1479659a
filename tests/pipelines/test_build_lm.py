"""A language model's states in a build: what is in them, what computes them again, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from builds import computed, manifest
from language_models import make, saved
from library import records, words_recipe, write_jsonl, write_parts
from tokenizer_models import byte_level, save

import mnemodex
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.pipelines.stages import lm_tokens as tokens_stage
from mnemodex.pipelines.stages.lm_tokens import TokenStats
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import IdCollisionError, ModelError, NotFiniteError, RecipeError, SourceError

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def recipe(tmp_path, model):
    source = write_parts(tmp_path / "notes", records()[:18], 3)
    lm = {"tiny": {"model": model, "window": 32, "overlap": 8}}
    return words_recipe(source, tmp_path / "memory", lm=lm, indexes={}, chunks={"by": "tokens", "size": 16})


def changed(recipe, **spec):
    return {**recipe, "lm": {"tiny": {**recipe["lm"]["tiny"], **spec}}}


def states(tmp_path):
    return mnemodex.open(tmp_path / "memory").sql("SELECT * FROM lm_states_tiny ORDER BY position").fetchall()


def test_every_token_but_the_first_is_a_row_with_its_chunk(recipe, tmp_path):
    result = mnemodex.build(recipe)
    assert computed(result)["lm_tokens/tiny"] == computed(result)["lm_states/tiny"] == 3 and result.warnings == []
    memory = mnemodex.open(tmp_path / "memory")
    texts = dict(memory.sql("SELECT doc_id, text FROM documents").fetchall())
    tokens = {doc_id: byte_level().encode(text) for doc_id, text in texts.items()}
    rows = memory.sql(
        'SELECT s.position, s.doc_id, s.token_offset, s.value, c.start, c."end", c.doc_id '
        "FROM lm_states_tiny s JOIN chunks c USING (chunk_id)"
    ).fetchall()
    seen = {(doc_id, offset): value for _, doc_id, offset, value, *_ in rows}
    assert seen == {
        (doc_id, offset): value for doc_id, text in tokens.items() for offset, value in list(enumerate(text.ids))[1:]
    }
    covered = 0
    for position, doc_id, offset, _, start, end, of in rows:
        first = tokens[doc_id].offsets[offset][0]
        assert of == doc_id and position == (doc_id + offset) % 2**63
        # Between two chunks there is a space, which begins the first token of the second.
        assert start - 1 <= first < end or texts[doc_id][first:].isspace()
        covered += start <= first < end
    assert covered > 0.8 * len(rows)
    assert verify(tmp_path / "memory").problems == []


def test_keys_and_surprisals_are_the_models(recipe, tmp_path, model):
    """Of documents that fit a window, so that one plain forward pass tells them."""
    mnemodex.build(changed(recipe, window=120))
    memory, lm = mnemodex.open(tmp_path / "memory"), LanguageModel(model)
    for doc_id, text in memory.sql("SELECT doc_id, text FROM documents").fetchall():
        ids = torch.tensor([byte_level().encode(text).ids])
        if ids.shape[1] > 120:
            continue
        given = []
        handle = lm.model.model.layers[-1].mlp.register_forward_pre_hook(
            lambda _, inputs, to=given: to.append(inputs[0])
        )
        with torch.no_grad():
            logits = lm.model(ids).logits[0, :-1]
        handle.remove()
        rows = memory.sql(
            f"SELECT key, surprisal FROM lm_states_tiny WHERE doc_id = {doc_id} ORDER BY position"
        ).fetchall()
        keys = np.stack([np.frombuffer(key, np.float16) for key, _ in rows])
        np.testing.assert_allclose(keys, given[0][0, :-1].numpy(), atol=2e-3, rtol=2e-3)
        surprisal = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        np.testing.assert_allclose([surprisal for _, surprisal in rows], surprisal.numpy(), rtol=1e-4)


def test_units_change_nothing_but_the_partitions(recipe, tmp_path, monkeypatch):
    mnemodex.build(recipe)
    monkeypatch.setattr(tokens_stage, "UNIT_TOKENS", 50)
    result = mnemodex.build({**recipe, "memory": str(tmp_path / "other")})
    assert computed(result)["lm_states/tiny"] > 10
    sizes = [part.rows for part in manifest(tmp_path / "other").tables["lm_states/tiny"].partitions]
    assert max(sizes) < 50 + 32, "a unit ends with the window that passes its size"
    whole = {row[0]: row for row in states(tmp_path)}
    parts = mnemodex.open(tmp_path / "other").sql("SELECT * FROM lm_states_tiny").fetchall()
    assert len(parts) == len(whole)
    for row in parts:
        expected = whole[row[0]]
        assert row[:4] == expected[:4] and row[5] == expected[5] and row[6] == pytest.approx(expected[6], rel=1e-3)


def test_a_killed_build_goes_on_at_the_unit(recipe, tmp_path, monkeypatch, inline):
    monkeypatch.setattr(tokens_stage, "UNIT_TOKENS", 200)
    wait, finished = inline.wait, []

    def dies(self, progress):
        answers = wait(self, progress)
        finished.extend(answer for answer in answers if answer.step == "lm_states/tiny")
        if len(finished) == 3:
            raise KeyboardInterrupt
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(inline, "wait", dies)
        with pytest.raises(KeyboardInterrupt):
            mnemodex.build(recipe)
    result = mnemodex.build(recipe)
    (step,) = [step for step in result.steps if step.name == "lm_states/tiny"]
    assert step.partitions - step.computed == 3, "two that were told of, and the one that nobody heard of"
    assert step.computed > 1


def test_an_unchanged_build_computes_nothing_and_starts_no_engine(recipe, monkeypatch):
    mnemodex.build(recipe)
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", lambda *_, **__: pytest.fail("started"))
    result = mnemodex.build(recipe)
    assert not result.committed and computed(result) == {}


def test_other_chunks_take_the_keys_over_without_the_model(recipe, tmp_path, monkeypatch):
    mnemodex.build(recipe)
    before = states(tmp_path)
    monkeypatch.setattr("mnemodex.pipelines.lm.states.LanguageModel", lambda *_, **__: pytest.fail("loaded"))
    result = mnemodex.build({**recipe, "chunks": {"by": "document"}})
    assert computed(result)["lm_states/tiny"] == 3
    assert [(row[0], *row[3:]) for row in states(tmp_path)] == [(row[0], *row[3:]) for row in before]
    assert [row[2] for row in states(tmp_path)] != [row[2] for row in before]
    assert verify(tmp_path / "memory").problems == []


def test_more_documents_are_read_alone(recipe, tmp_path):
    mnemodex.build(recipe)
    write_jsonl(tmp_path / "notes" / "part-9.jsonl", records()[18:20])
    assert computed(mnemodex.build(recipe))["lm_states/tiny"] == 1


@pytest.mark.parametrize("spec", [{"window": 40}, {"overlap": 9}, {"key": "block_output"}, {"surprisal": False}])
def test_what_decides_the_states_makes_them_anew(recipe, spec):
    mnemodex.build(recipe)
    assert computed(mnemodex.build(changed(recipe, **spec)))["lm_states/tiny"] == 3


def test_without_surprisal_the_column_is_empty(recipe, tmp_path):
    mnemodex.build(changed(recipe, surprisal=False))
    memory = mnemodex.open(tmp_path / "memory")
    assert memory.sql("SELECT count(*) > 0, count(surprisal) FROM lm_states_tiny").fetchall() == [(True, 0)]
    mnemodex.build({**changed(recipe, surprisal=False), "chunks": {"by": "document"}})
    assert verify(tmp_path / "memory").problems == []


def test_documents_without_two_tokens_have_no_rows(recipe, tmp_path, model):
    rows = [{"id": "blank", "title": "t", "text": "  "}, {"id": "one", "text": "a"}, {"id": "more", "text": "a b c"}]
    source = write_jsonl(tmp_path / "short.jsonl", rows)
    mnemodex.build({**recipe, "source": {"path": str(source)}})
    memory = mnemodex.open(tmp_path / "memory")
    assert memory.sql("SELECT DISTINCT documents.key FROM lm_states_tiny JOIN documents USING (doc_id)").fetchall() == [
        ("more",)
    ]
    (part,) = manifest(tmp_path / "memory").tables["lm_tokens/tiny"].partitions
    assert part.stats.of(TokenStats).short == 2 and part.rows == 3


def test_a_corpus_without_a_token_to_predict_is_refused(recipe, tmp_path):
    source = write_jsonl(tmp_path / "short.jsonl", [{"id": "one", "text": "a"}])
    with pytest.raises(SourceError, match=r"lm\.tiny: no document has two tokens, the least to predict one"):
        mnemodex.build({**recipe, "source": {"path": str(source)}})


def test_a_prefix_of_the_tokenizer_stands_before_every_window(recipe, tmp_path):
    from tokenizers.processors import TemplateProcessing

    made = type(byte_level()).from_str(byte_level().to_str())
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 3)])
    make("llama").save_pretrained(tmp_path / "model")
    recipe = changed(recipe, model=save(made, tmp_path / "model"))
    mnemodex.build(recipe)
    memory = mnemodex.open(tmp_path / "memory")
    assert memory.sql("SELECT min(token_offset) FROM lm_states_tiny").fetchall() == [(0,)]
    assert memory.snapshot.manifest.language_models["tiny"].prefix == (3,)
    assert verify(tmp_path / "memory").problems == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"lm": {"tiny": {"model": "x", "overlap": 2000}}}, "lm.tiny: `overlap` is 2000, but a window has 1024 tokens"),
        ({"lm": {"tiny": {"model": "x", "key": "last"}}}, "lm.tiny.key"),
        ({"lm": {"tiny": {}}}, "the key 'lm.tiny.model' is missing"),
        (
            {"indexes": {"next": {"type": "knn_lm", "lm": "big"}}},
            "indexes.next.lm names 'big'; language models are: tiny",
        ),
        ({"indexes": {"next": {"type": "knn_lm"}}, "lm": {}}, "needs the states of a language model; add a section"),
        ({"indexes": {"next": {"type": "knn_lm", "metric": "ip"}}}, "indexes.next.metric"),
        ({"indexes": {"next": {"type": "knn_lm", "factroy": "Flat"}}}, "did you mean 'factory'"),
    ],
)
def test_a_wrong_section_is_refused_by_its_key(recipe, section, message):
    with pytest.raises(RecipeError) as caught:
        mnemodex.build({**recipe, **section})
    assert message in str(caught.value)


def test_a_model_that_is_not_there_is_refused_before_anything_is_built(recipe, tmp_path):
    with pytest.raises(ModelError, match="no such file or folder"):
        mnemodex.build(changed(recipe, model="pkg/none/such"))
    assert not (tmp_path / "memory").exists()


def test_a_window_that_the_model_cannot_read_is_refused(recipe):
    with pytest.raises(ModelError, match=r"reads 128 tokens at most, but `window` is 129; give 128 or fewer"):
        mnemodex.build(changed(recipe, window=129))


def test_an_encoder_decoder_is_refused(recipe, tmp_path):
    with pytest.raises(ModelError, match="has an encoder; a next-token datastore takes a causal language model"):
        mnemodex.build(changed(recipe, model=saved("t5", tmp_path / "t5")))


@pytest.mark.parametrize("broken", [float("nan"), 1e6])
def test_keys_that_are_no_numbers_of_half_precision_are_refused(recipe, tmp_path, broken):
    model = make("llama")
    with torch.no_grad():
        model.model.layers[-1].post_attention_layernorm.weight.fill_(broken)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(NotFiniteError, match=r"lm\.tiny: model .* in \d+ of \d+ keys; take another `key`"):
        mnemodex.build(changed(recipe, model=save(byte_level(), tmp_path / "model")))


def test_positions_that_meet_are_told(recipe, monkeypatch):
    monkeypatch.setattr("mnemodex.pipelines.lm.states.token_positions", lambda _, offsets: offsets.astype(np.int64))
    with pytest.raises(IdCollisionError):
        mnemodex.build(recipe)


def test_the_manifest_names_model_tokenizer_and_keys(recipe, tmp_path, model):
    mnemodex.build({**recipe, "indexes": {"next": {"type": "knn_lm"}}})
    snapshot = manifest(tmp_path / "memory")
    told = snapshot.language_models["tiny"]
    assert (told.dimension, told.vocabulary, told.settings["key"]) == (32, 400, "ffn_input")
    assert len(told.sha256) == len(told.tokenizer_sha256) == 64
    assert snapshot.indexes["next"].settings["lm"] == "tiny" and snapshot.indexes["next"].search.scale > 0
    assert json.loads(snapshot.to_bytes())["tables"]["lm_states/tiny"]
