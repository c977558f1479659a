"""An attached model against kNN-LM spelt out: logits and losses of texts, every setting, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from knn_lm_reference import Reference
from language_models import make, saved
from numpy_datastore import datastore
from tokenizer_models import byte_level

from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.models.tokenizers import content_hash
from mnemodex.retrievers.readers.knn_lm import Buckets, KnnLM, Mixing
from mnemodex.schemas.errors import ModelError, NotFiniteError, QueryError

TEXTS = [np.random.default_rng(seed).integers(4, 400, length) for seed, length in enumerate((40, 33, 21))]
PROMPT = np.concatenate([TEXTS[1][5:14], [7, 8], TEXTS[2][3:9]])
"""Pieces of two texts, so that some neighbours' values come true and some do not."""
SETTINGS = {
    "plain": {},
    "buckets": {"weight": Buckets((1.0, 60.0), (0.9, 0.5, 0.1))},
    "all neighbours": {"weight": 1 - 1e-9},
    "temperature": {"temperature": 300.0},
    "gate": {"gate": 1.5},
    "rescore": {"rescore": True},
    "pointers": {"pointers": 1},
    "two pointers": {"pointers": 2, "rescore": True},
    "pointers and gate": {"pointers": 1, "gate": 1.5},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request):
    """In doubles, so that keys do not depend on what is computed together."""
    return make(request.param).eval().double()


@pytest.fixture(scope="module")
def store(model):
    return datastore(model, TEXTS)


@pytest.fixture(scope="module")
def coarse(model):
    """Estimates distances only."""
    return datastore(model, TEXTS, rounded=40.0)


@pytest.fixture(scope="module")
def llama():
    return make("llama").eval()


@pytest.fixture(scope="module")
def llamas(llama):
    return datastore(llama, TEXTS)


def ids(*texts):
    return torch.tensor([list(map(int, text)) for text in texts])


def loss_by_hand(logs, text):
    return -np.mean([log[token] for log, token in zip(logs, text[1:], strict=False)])


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["exact", "coarse"])
def test_logits_and_loss_are_those_of_the_mixture(model, store, coarse, name, kind):
    store = store if kind == "exact" else coarse
    knn = KnnLM(store, k=6, **SETTINGS[name])
    texts = [PROMPT, TEXTS[0][: len(PROMPT)]]
    with knn.attach(model):
        got = model(ids(*texts), labels=ids(*texts))
    reference = Reference(model, store, knn.mixing)
    expected = [reference.walk(text) for text in texts]
    assert got.logits.dtype == torch.float64
    np.testing.assert_allclose(got.logits.numpy(), expected, rtol=1e-5, atol=1e-5)
    loss = np.mean([loss_by_hand(logs, text) for logs, text in zip(expected, texts, strict=True)])
    assert float(got.loss) == pytest.approx(loss, rel=1e-5)
    stats = (knn.stats.searches, knn.stats.saved, knn.stats.gated)
    assert stats == (reference.searches, reference.saved, reference.gated)
    assert knn.stats.lookups + knn.stats.gated == sum(map(len, texts))
    if name == "pointers":
        assert knn.stats.saved > 0


@pytest.mark.parametrize("kind", ["block_output", "final_hidden", "lm_head_input"])
def test_every_kind_of_key_is_looked_up(model, kind):
    store = datastore(model, TEXTS, kind)
    knn = KnnLM(store, k=4)
    with knn.attach(model):
        got = model(ids(PROMPT), logits_to_keep=3).logits[0]
    np.testing.assert_allclose(got, Reference(model, store, knn.mixing).walk(PROMPT)[-3:], rtol=1e-5, atol=1e-5)


def test_only_the_logits_that_are_asked_for_are_looked_up(model, store):
    knn = KnnLM(store, k=6, pointers=1)
    whole = Reference(model, store, replace(knn.mixing, pointers=None)).walk(PROMPT)
    with knn.attach(model):
        kept = model(ids(PROMPT), logits_to_keep=torch.tensor([3, 9, 5])).logits[0]
        assert (knn.stats.lookups, knn.stats.searches) == (3, 3)
        last = model(ids(PROMPT), logits_to_keep=2).logits[0]
    np.testing.assert_allclose(kept, whole[[3, 9, 5]], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(last, Reference(model, store, knn.mixing).walk(PROMPT, len(PROMPT) - 2), atol=1e-5)


@pytest.mark.parametrize("kind", ["ffn_input", "lm_head_input"])
def test_logits_may_be_asked_for_in_any_order(llama, kind):
    knn = KnnLM(datastore(llama, TEXTS, kind), k=4)
    order = torch.randperm(len(PROMPT))
    with knn.attach(llama):
        torch.testing.assert_close(
            llama(ids(PROMPT), logits_to_keep=order).logits, llama(ids(PROMPT)).logits[:, order], rtol=1e-4, atol=1e-4
        )


def test_arguments_may_come_without_names(llama, llamas):
    with KnnLM(llamas, k=4).attach(llama):
        named = llama(input_ids=ids(PROMPT), logits_to_keep=2).logits
        placed = llama(ids(PROMPT), None, None, None, None, None, None, 2).logits
    assert torch.equal(named, placed)


def test_logits_to_keep_of_each_sequence_are_refused(llama, llamas):
    with KnnLM(llamas, k=4).attach(llama), pytest.raises(QueryError, match="while a KnnLM is attached give a number"):
        llama(ids(PROMPT, PROMPT), logits_to_keep=torch.tensor([[1], [2]]))


def test_a_tuple_is_given_to_who_wants_one(llama, llamas):
    with KnnLM(llamas, k=4).attach(llama):
        named = llama(ids(PROMPT), labels=ids(PROMPT), use_cache=False)
        loss, logits = llama(ids(PROMPT), labels=ids(PROMPT), use_cache=False, return_dict=False)
        (alone,) = llama(ids(PROMPT), use_cache=False, return_dict=False)
    assert torch.equal(loss, named.loss) and torch.equal(logits, named.logits) and torch.equal(alone, logits)


def test_the_loss_is_the_models_own(llama, llamas):
    """Labels may leave places out, and be counted by the caller."""
    labels = ids(PROMPT)
    labels[0, :6] = -100
    with KnnLM(llamas, k=4).attach(llama):
        got = llama(ids(PROMPT), labels=labels, num_items_in_batch=40)
    log = got.logits[0, :-1][range(len(PROMPT) - 1), PROMPT[1:]]
    assert float(got.loss) == pytest.approx(float(-log[5:].sum() / 40), rel=1e-6)


@pytest.mark.parametrize("settings", [{}, {"pointers": 1}])
def test_padding_is_not_looked_up(model, store, settings):
    short = PROMPT[:9]
    knn = KnnLM(store, k=4, **settings)
    padded = ids(PROMPT, [0] * (len(PROMPT) - 9) + list(short))
    mask = ids([1] * len(PROMPT), [0] * (len(PROMPT) - 9) + [1] * 9)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    extra = {} if model.config.model_type == "opt" else {"position_ids": places}
    bare = model(padded, attention_mask=mask, **extra).logits
    with knn.attach(model):
        got = model(padded, attention_mask=mask, **extra).logits
    assert torch.equal(got[1, :-9], torch.log_softmax(bare[1, :-9], dim=-1))
    expected = Reference(model, store, knn.mixing)
    np.testing.assert_allclose(got[0].detach(), expected.walk(PROMPT), atol=1e-5)
    np.testing.assert_allclose(got[1, -9:].detach(), expected.walk(short), atol=1e-5)
    assert knn.stats.lookups == mask.sum()


def test_where_the_model_is_sure_its_probabilities_are_as_they_were(llama, llamas):
    with torch.no_grad():
        log = torch.log_softmax(llama(ids(PROMPT)).logits, dim=-1)
    entropy = -(log.exp() * log).sum(-1)[0]
    knn = KnnLM(llamas, k=4, gate=float(entropy.median()))
    with knn.attach(llama):
        got = llama(ids(PROMPT)).logits
    sure = entropy < entropy.median()
    assert torch.equal(got[0, sure], log[0, sure])
    assert (got[0, ~sure] != log[0, ~sure]).any(dim=-1).all()
    assert (knn.stats.gated, knn.stats.lookups) == (int(sure.sum()), int((~sure).sum()))


@pytest.mark.parametrize("settings", [{}, {"rescore": True}, {"pointers": 1}])
def test_a_place_without_neighbours_is_left_to_the_model(llama, llamas, settings, monkeypatch):
    def nothing(keys, _):
        return llamas.measure(keys, np.full((len(keys), 4), -1))

    monkeypatch.setattr(llamas, "nearest", nothing)
    with KnnLM(llamas, k=4, **settings).attach(llama):
        got = llama(ids(PROMPT)).logits
    assert torch.equal(got, torch.log_softmax(llama(ids(PROMPT)).logits, dim=-1))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_one_side_may_have_all_the_weight(llama, llamas, weight):
    with KnnLM(llamas, k=4, weight=weight).attach(llama):
        got = llama(ids(PROMPT)).logits[0]
    if weight == 0:
        assert torch.equal(got, torch.log_softmax(llama(ids(PROMPT)).logits[0], dim=-1))
    else:
        assert ((got > -torch.inf).sum(dim=-1) <= 4).all()
        np.testing.assert_allclose(torch.logsumexp(got, dim=-1), 0, atol=1e-6)


def test_a_cache_is_gone_on_with(model, store):
    """Pointers too: a text read in two passes has the probabilities of one read at once."""
    knn = KnnLM(store, k=6, pointers=1)
    expected = Reference(model, store, knn.mixing).walk(PROMPT)
    with knn.attach(model):
        first = model(ids(PROMPT[:7]), use_cache=True)
        second = model(ids(PROMPT[7:]), past_key_values=first.past_key_values)
    np.testing.assert_allclose(torch.cat([first.logits, second.logits], 1)[0].detach(), expected, atol=1e-5)


def test_a_cache_that_was_cropped_is_searched_for_anew(model, store):
    knn = KnnLM(store, k=6, pointers=1)
    with knn.attach(model):
        first = model(ids(PROMPT[:7]), use_cache=True)
        first.past_key_values.crop(-2)
        got = model(ids(PROMPT[5:]), past_key_values=first.past_key_values).logits[0]
    np.testing.assert_allclose(got.detach(), Reference(model, store, knn.mixing).walk(PROMPT, 5), atol=1e-5)


def test_bf16_mixes_in_float32(llama, llamas):
    half = make("llama").eval().to(torch.bfloat16)
    with KnnLM(llamas, k=4).attach(half):
        got = half(ids(PROMPT), labels=ids(PROMPT))
    assert got.logits.dtype == torch.float32
    np.testing.assert_allclose(torch.logsumexp(got.logits, dim=-1), 0, atol=1e-5)
    with KnnLM(llamas, k=4).attach(llama):
        assert float(got.loss) == pytest.approx(float(llama(ids(PROMPT), labels=ids(PROMPT)).loss), rel=0.05)


def test_outside_the_block_the_model_is_as_it_was(llama, llamas):
    before = llama(ids(PROMPT)).logits
    names = set(vars(llama))
    knn = KnnLM(llamas, k=4)
    with pytest.raises(RuntimeError, match="stop"), knn.attach(llama):
        raise RuntimeError("stop")
    with pytest.raises(RuntimeError, match="stop"), knn.processor(llama):
        raise RuntimeError("stop")
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in llama.modules()]
    assert not any(hooks) and set(vars(llama)) == names
    assert torch.equal(llama(ids(PROMPT)).logits, before)


def test_it_is_attached_once(llama, llamas):
    knn = KnnLM(llamas, k=4)
    with knn.attach(llama):
        before, counted = llama(ids(PROMPT)).logits, replace(knn.stats)
        for again in (knn.attach(llama), KnnLM(llamas, k=4).attach(llama), knn.processor(llama)):
            with pytest.raises(ModelError, match="attached to this LlamaForCausalLM already"), again:
                pass
        assert knn.stats == counted, "what was refused has not looked anything up"
        assert torch.equal(llama(ids(PROMPT)).logits, before)


def test_statistics_begin_anew_with_each_block(llama, llamas):
    knn = KnnLM(llamas, k=4)
    for _ in range(2):
        with knn.attach(llama):
            llama(ids(PROMPT))
        assert knn.stats.lookups == len(PROMPT)


def test_another_model_is_refused(llama, llamas):
    torch.manual_seed(1)
    other = make("llama").eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * parameter.std() * torch.randn_like(parameter))
    with pytest.raises(ModelError, match=r"not the datastore's: datastore 'next'.*differ from"):
        KnnLM(llamas, k=4).attach(other).__enter__()
    with pytest.raises(ModelError, match="not the datastore's"):
        KnnLM(llamas, k=4).processor(other).__enter__()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocabulary": 500}, "has 400 tokens, but datastore 'next' was built with 'tiny', which has 500"),
        ({"dimension": 64}, "keys have 32 dimensions, but datastore 'next' was built with 'tiny', with 64"),
    ],
)
def test_a_model_of_other_sizes_is_refused(llama, llamas, changed, message, monkeypatch):
    monkeypatch.setattr(llamas, "info", replace(llamas.info, **changed))
    with pytest.raises(ModelError, match=message):
        KnnLM(llamas, k=4).attach(llama).__enter__()


def test_a_model_with_an_encoder_is_refused(llamas):
    with pytest.raises(ModelError, match="has an encoder"):
        KnnLM(llamas, k=4).attach(make("t5")).__enter__()


def test_a_model_in_training_is_checked_without_dropout_and_left_in_training():
    model = make("gpt2").eval()
    store = datastore(model, TEXTS)
    model.train()
    model.transformer.drop.eval()
    modes = [part.training for part in model.modules()]
    with KnnLM(store, k=4).attach(model):
        assert [part.training for part in model.modules()] == modes


def test_keys_that_are_no_numbers_are_refused(llamas):
    model = make("llama").eval()
    with KnnLM(llamas, k=4, gate=1.0).attach(model), pytest.raises(NotFiniteError, match="NaN or infinity"):
        model(inputs_embeds=torch.full((1, 3, 32), torch.nan))


def test_more_neighbours_than_entries_are_refused(llamas):
    with pytest.raises(QueryError, match=r"k is 500, but datastore 'next' has \d+ entries"):
        KnnLM(llamas, k=500)


def test_a_datastore_without_a_scale_needs_a_temperature(llamas, monkeypatch):
    monkeypatch.setattr(llamas, "info", replace(llamas.info, scale=0.0))
    with pytest.raises(QueryError, match="give a temperature"):
        KnnLM(llamas, k=4)
    assert KnnLM(llamas, k=4, temperature=2.0).temperature == 2.0


def test_settings_go_before_those_of_a_mixing(llamas):
    knn = KnnLM(llamas, Mixing(k=4, weight=0.5), weight=0.1)
    assert knn.mixing == Mixing(k=4, weight=0.1)
    with pytest.raises(TypeError, match="lamda"):
        KnnLM(llamas, lamda=1)


def test_a_tokenizer_is_compared_by_what_it_does(llamas, monkeypatch, tmp_path):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    # A copy: others use that one too.
    tokenizer = Tokenizer.from_str(byte_level().to_str())
    monkeypatch.setattr(llamas, "info", replace(llamas.info, tokenizer_sha256=content_hash(tokenizer)))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding()
    KnnLM(llamas, k=4, tokenizer=tokenizer)
    loaded = AutoTokenizer.from_pretrained(saved("llama", tmp_path))
    assert content_hash(loaded) != content_hash(tokenizer)
    KnnLM(llamas, k=4, tokenizer=loaded)
    loaded.add_tokens(["gull"])
    with pytest.raises(ModelError, match="not that of datastore 'next'"):
        KnnLM(llamas, k=4, tokenizer=loaded)
    tokenizer.add_tokens(["gull"])
    with pytest.raises(ModelError, match="not that of datastore 'next'"):
        KnnLM(llamas, k=4, tokenizer=tokenizer)
    with pytest.raises(ModelError, match="load a fast one"):
        KnnLM(llamas, k=4, tokenizer=object())


def test_a_memorys_datastore_makes_its_texts_probable(memory):
    store = memory.retriever("next")
    lm = LanguageModel(store.info.model)
    ((tokens,),) = memory.sql("SELECT tokens FROM lm_tokens_tiny ORDER BY len(tokens) DESC LIMIT 1").fetchall()
    text = ids(tokens[: store.info.window])
    with torch.no_grad():
        bare = float(lm.model(text, labels=text).loss)
    losses = []
    for pointers in (None, 8):
        knn = KnnLM(store, k=16, weight=0.5, pointers=pointers, tokenizer=lm.tokenizer)
        with knn.attach(lm.model):
            losses.append(float(lm.model(text, labels=text).loss))
    assert max(losses) < bare - 1
    assert 0 < knn.stats.saved < knn.stats.lookups
