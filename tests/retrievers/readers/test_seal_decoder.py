"""SEAL's keys: what a model writes, and what it thinks of the question's own n-grams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import InlineEngine
from language_models import saved
from library import records, write_parts
from tokenizer_models import minilm, save

import mnemodex
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.indexers.ngram import Ragged
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.readers.seal_decoder import SealDecoder
from mnemodex.retrievers.seal.keys import Keys, Kind
from mnemodex.schemas.errors import ModelError

QUESTIONS = ["Who feeds the gulls?", "Where is the harbour?", "keeper"]


@pytest.fixture(scope="module", params=["gpt2", "bart"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    recipe = {
        "source": str(write_parts(folder / "source", records(), 2)),
        "memory": str(folder / "memory"),
        "indexes": {
            "ngrams": {"type": "ngram", "tokenizer": saved(request.param, folder / "model")},
            "seal": {"type": "seal", "model": str(folder / "model"), "beams": 3, "length": 4},
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        mnemodex.build(recipe)
    return folder


@pytest.fixture(scope="module")
def opened(folder):
    return mnemodex.open(folder / "memory")


@pytest.fixture(scope="module")
def index(opened):
    return opened.retriever("ngrams")


@pytest.fixture(scope="module")
def decoder(folder, index):
    made = SealDecoder(
        index.corpus,
        str(folder / "model"),
        tokenizer_hash(str(folder / "model")),
        beams=3,
        length=4,
        body_prompt="{question} || body",
        title_prompt="{question} || title",
    )
    made._lm.model.double()
    return made


def asked(index):
    """One, two and three tokens of each question."""
    ids = [index.phrases.tokenizer.encode(question).ids for question in QUESTIONS]
    ngrams = [some[place : place + length] for some in ids for length in (1, 2, 3) for place in range(2)]
    query = np.repeat(np.arange(len(ids)), 6)
    return Keys(query, Ragged.of(ngrams), np.zeros(len(ngrams)), np.full(len(ngrams), Kind.QUERY, np.int8))


def rows(keys, number, kind):
    found = np.flatnonzero((keys.query == number) & (keys.kind == kind))
    return {tuple(keys.ngrams.part(place, place + 1).values.tolist()): keys.log_probability[place] for place in found}


def log_probability(lm, prompt, ngram):
    """By reading prompt and n-gram as a whole."""
    ids = lm.tokenizer.encode(prompt).ids
    with torch.no_grad():
        if lm.is_encoder_decoder:
            config = lm.model.config
            start = [config.decoder_start_token_id, lm.model.generation_config.forced_bos_token_id]
            logits = lm.model(
                input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[*start, *ngram[:-1]]])
            ).logits
        else:
            logits = lm.model(input_ids=torch.tensor([ids + list(ngram[:-1])])).logits
    found = logits[0, -len(ngram) :].log_softmax(-1)
    return sum(float(found[place, token]) for place, token in enumerate(ngram))


def test_every_kind_of_key_has_the_models_probability(decoder, index):
    keys = decoder.keys(QUESTIONS, asked(index))
    assert (np.diff(keys.query) >= 0).all()
    for number, question in enumerate(QUESTIONS):
        for kind in (Kind.BODY, Kind.QUERY, Kind.UNIGRAM):
            found = rows(keys, number, kind)
            assert found
            for ngram, score in list(found.items())[:12]:
                expected = log_probability(decoder._lm, f"{question} || body", ngram)
                assert score == pytest.approx(expected, abs=1e-8)


def test_the_questions_ngrams_come_back_as_they_went(decoder, index):
    own = asked(index)
    keys = decoder.keys(QUESTIONS, own)
    found = keys.take(np.flatnonzero(keys.kind == Kind.QUERY))
    assert found.query.tolist() == own.query.tolist()
    assert found.ngrams.values.tolist() == own.ngrams.values.tolist()


def test_body_keys_stand_in_the_corpus_and_titles_are_whole(decoder, index):
    keys = decoder.keys(QUESTIONS)
    titles = {
        tuple(index.phrases.tokenizer.encode(record["title"], add_special_tokens=False).ids) for record in records()
    }
    for number in range(len(QUESTIONS)):
        bodies = rows(keys, number, Kind.BODY)
        assert (index.corpus.body.count([list(ngram) for ngram in bodies]) > 0).all()
        assert {len(ngram) for ngram in bodies} == {1, 2, 3, 4}
        assert rows(keys, number, Kind.TITLE).keys() <= titles


def test_single_tokens_are_all_that_occur(decoder, index):
    keys = decoder.keys(QUESTIONS[:1])
    fields = (index.corpus.body, index.corpus.title)
    occurring = {int(token) for field in fields for token in field.continuations(field.whole(1)).tokens}
    assert {token for (token,) in rows(keys, 0, Kind.UNIGRAM)} == occurring


def test_batches_do_not_change_the_keys(decoder, index, monkeypatch):
    together = decoder.keys(QUESTIONS, asked(index))
    monkeypatch.setattr("mnemodex.retrievers.readers.seal_decoder._ROWS", {"cpu": 3})
    apart = decoder.keys(QUESTIONS, asked(index))
    assert apart.query.tolist() == together.query.tolist()
    assert apart.ngrams.values.tolist() == together.ngrams.values.tolist()
    np.testing.assert_allclose(apart.log_probability, together.log_probability, atol=1e-9)


def test_no_questions_have_no_keys(decoder):
    assert len(decoder.keys([])) == 0


def test_another_tokenizer_is_refused(index, folder, tmp_path):
    other = tokenizer_hash(save(minilm(), tmp_path))
    with pytest.raises(ModelError, match="has another tokenizer than the n-gram index: build the index with"):
        SealDecoder(index.corpus, str(folder / "model"), other, body_prompt="", title_prompt="")


def test_a_search_is_by_what_the_model_writes_and_by_the_questions_own_ngrams(opened):
    retriever = opened.retriever("seal")
    keys = retriever.keys(QUESTIONS)
    assert {*keys.kind.tolist()} == {*Kind}
    own = keys.take(np.flatnonzero(keys.kind == Kind.QUERY))
    without = retriever._index.phrases.pieces(QUESTIONS, 3, retriever._index.holds)
    assert own.ngrams.values.tolist() == without.ngrams.values.tolist()
    hits = retriever.search(QUESTIONS, 5)
    assert (hits.ids[:, 0] >= 0).all()
    kinds = {reason.kind for answer in hits.reasons() for hit in answer for reason in hit}
    assert "query" in kinds and kinds & {"body", "unigram", "title"}
    for score in ("lm", "lm_fm", "intersective"):
        assert (retriever.search_keys(keys, len(QUESTIONS), 5, score=score).ids[:, 0] >= 0).all()


def test_asking_for_more_hits_does_not_decode_again(opened, monkeypatch):
    retriever = opened.retriever("seal")
    few = retriever.search(QUESTIONS, 2)
    monkeypatch.setattr(SealDecoder, "keys", lambda *_: pytest.fail("decoded again"))
    assert retriever.search(QUESTIONS, 9).ids[:, :2].tolist() == few.ids.tolist()


def test_a_model_with_another_tokenizer_than_the_index_is_told_in_a_search(folder):
    other = folder / "model" / "tokenizer.json"
    former = other.read_bytes()
    memory = mnemodex.open(folder / "memory")
    retriever = memory.retriever("seal")
    try:
        save(minilm(), folder / "model")
        with pytest.raises(ModelError, match="has another tokenizer than the n-gram index"):
            retriever.search(["keeper"], 1)
    finally:
        other.write_bytes(former)
