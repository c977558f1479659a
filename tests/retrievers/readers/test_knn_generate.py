"""Generated texts of an attached model, and of its logits processor, against decoding spelt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from knn_lm_reference import Reference
from language_models import make
from numpy_datastore import datastore

from mnemodex.retrievers.readers.knn_lm import Buckets, KnnLM
from mnemodex.schemas.errors import QueryError

TEXTS = [np.random.default_rng(seed).integers(4, 400, length) for seed, length in enumerate((40, 33, 21))]
PROMPTS = [[*TEXTS[1][5:14], 7], [*TEXTS[2][3:9]]]
STEPS = 6
SETTINGS = {
    "plain": {},
    "buckets": {"weight": Buckets((30.0,), (0.6, 0.1))},
    "gate": {"gate": 1.5},
    "pointers": {"pointers": 1},
    "pointers and gate": {"pointers": 2, "gate": 1.0},
}
WAYS = ["attached", "processor"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request):
    return prepared(request.param)


@pytest.fixture(scope="module")
def store(model):
    return datastore(model, TEXTS)


@pytest.fixture(scope="module")
def llama():
    return prepared("llama")


@pytest.fixture(scope="module")
def llamas(llama):
    return datastore(llama, TEXTS)


def prepared(kind):
    """In doubles, so that keys do not depend on what is computed together; texts end nowhere."""
    model = make(kind).eval().double()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    model.generation_config.top_k = 0
    return model


def generated(knn, model, way, prompts=PROMPTS[:1], steps=STEPS, **options):
    """Prompts are padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(map(int, prompt)) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    options = {"max_new_tokens": steps, "do_sample": False, **options}
    if way == "attached":
        with knn.attach(model):
            got = model.generate(ids, attention_mask=mask, **options)
    else:
        with knn.processor(model) as processor:
            got = model.generate(ids, attention_mask=mask, logits_processor=[processor], **options)
    return [row[width - len(prompt) :] for row, prompt in zip(got.tolist(), prompts, strict=True)]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("way", WAYS)
class TestDecoding:
    def test_greedy_texts_are_those_of_the_mixture(self, model, store, name, way):
        knn = KnnLM(store, k=6, **SETTINGS[name])
        got = generated(knn, model, way, PROMPTS)
        expected = [Reference(model, store, knn.mixing).greedy(prompt, STEPS) for prompt in PROMPTS]
        assert got == expected
        assert knn.stats.lookups + knn.stats.gated == 2 * STEPS
        if name == "pointers":
            assert knn.stats.saved > 0

    def test_sampled_texts_are_those_of_the_mixture(self, model, store, name, way):
        knn = KnnLM(store, k=6, **SETTINGS[name])
        expected = Reference(model, store, knn.mixing).sampled(PROMPTS[0], STEPS, seed=3)
        torch.manual_seed(3)
        assert generated(knn, model, way, do_sample=True) == [expected]

    def test_beams_are_those_of_the_mixture(self, model, store, name, way):
        knn = KnnLM(store, k=6, **SETTINGS[name])
        got = generated(knn, model, way, PROMPTS, num_beams=3)
        assert got == [Reference(model, store, knn.mixing).beams(prompt, STEPS, 3) for prompt in PROMPTS]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("beams", [1, 3])
def test_without_a_cache_pointers_are_followed_too(llama, llamas, way, beams):
    knn = KnnLM(llamas, k=6, pointers=1)
    cached = generated(knn, llama, way, num_beams=beams, steps=12)
    saved = knn.stats.saved
    assert generated(knn, llama, way, num_beams=beams, steps=12, use_cache=False) == cached
    assert knn.stats.saved == saved > 0


def test_each_text_begins_with_a_search(llama, llamas):
    knn = KnnLM(llamas, k=6, pointers=1)
    prompt = torch.tensor([list(map(int, PROMPTS[0]))])
    with knn.attach(llama):
        for times in (1, 2, 3):
            llama.generate(prompt, max_new_tokens=1, do_sample=False)
            assert knn.stats.searches == times


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("sample", [False, True])
def test_both_ways_give_one_text_under_what_forbids_tokens(llama, llamas, beams, sample):
    """End tokens at first, some tokens always, and repeated pairs."""
    knn = KnnLM(llamas, k=6, weight=0.5)
    options = {
        "num_beams": beams,
        "do_sample": sample,
        "temperature": 1.3,
        "top_k": 20,
        "eos_token_id": int(TEXTS[1][15]),
        "min_new_tokens": 4,
        "suppress_tokens": [int(TEXTS[1][14])],
        "no_repeat_ngram_size": 2,
        "steps": 10,
    }
    found = []
    for way in WAYS:
        torch.manual_seed(5)
        found.append(generated(knn, llama, way, PROMPTS, **options))
    assert found[0] == found[1]
    assert int(TEXTS[1][14]) not in found[1][0][len(PROMPTS[0]) :]


@pytest.mark.parametrize("beams", [1, 3])
def test_both_ways_give_one_score(llama, llamas, beams):
    knn = KnnLM(llamas, k=6)
    prompt = torch.tensor([list(map(int, PROMPTS[0]))])
    options = {"max_new_tokens": 3, "do_sample": False, "num_beams": beams, "output_scores": True}
    options["return_dict_in_generate"] = True
    with knn.attach(llama):
        attached = llama.generate(prompt, **options)
    with knn.processor(llama) as processor:
        processed = llama.generate(prompt, logits_processor=[processor], **options)
    for one, other in zip(attached.scores, processed.scores, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_bf16_generates_alike_both_ways():
    model = prepared("llama").to(torch.bfloat16)
    store = datastore(model, TEXTS)
    knn = KnnLM(store, k=6, pointers=1)
    assert generated(knn, model, "attached", PROMPTS) == generated(knn, model, "processor", PROMPTS)


def test_a_processor_sees_one_pass_for_each_step(llama, llamas):
    with KnnLM(llamas, k=4).processor(llama) as processor:
        llama(torch.tensor([[5, 6, 7]]))
        scores = torch.zeros(1, 400)
        processor(torch.tensor([[5, 6, 7]]), scores)
        with pytest.raises(QueryError, match="without a forward pass of the model of its own"):
            processor(torch.tensor([[5, 6, 7, 8]]), scores)


def test_the_models_outputs_are_its_own_beside_a_processor(llama, llamas):
    bare = llama(torch.tensor([[5, 6, 7]])).logits
    with KnnLM(llamas, k=4).processor(llama):
        assert torch.equal(llama(torch.tensor([[5, 6, 7]])).logits, bare)
