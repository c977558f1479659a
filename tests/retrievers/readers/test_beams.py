"""Constrained beam search against a plain one: one beam at a time, the whole model each time, counts by looking."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from language_models import loaded
from library import records

from mnemodex.indexers.ngram import FMIndex, Ragged, build
from mnemodex.retrievers.readers import beams as beams_module
from mnemodex.retrievers.readers.beams import BeamOptions, BeamSearch
from mnemodex.retrievers.readers.prompted import Prompted
from mnemodex.retrievers.seal.keys import Kind
from mnemodex.schemas.errors import ModelError, QueryError

PROMPTS = ["Who feeds the gulls?", "a", "Where does the keeper of the old lighthouse live? Answer:"]
MODELS = ["gpt2", "llama", "opt", "bart", "t5"]


@pytest.fixture(scope="module", params=MODELS)
def lm(request, tmp_path_factory):
    return loaded(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def fields(lm):
    """Token ids of texts and of titles, some of which are there twice."""
    rows = records()[::4]
    return {
        name: [lm.tokenizer.encode(row[name], add_special_tokens=False).ids for row in rows]
        for name in ("text", "title")
    }


@pytest.fixture(scope="module")
def indexes(fields, tmp_path_factory):
    """Two shards each."""
    folder = tmp_path_factory.mktemp("indexes")
    found = {}
    for name, documents in fields.items():
        paths = []
        for number, part in enumerate((documents[:5], documents[5:])):
            build([{name: Ragged.of(part)}], folder / name / str(number), range(400))
            paths.append(folder / name / str(number) / "00000" / name)
        found[name] = FMIndex(paths)
    return found


class Plain:
    """What the search promises, spelt out for one prompt."""

    def __init__(self, lm, documents, options):
        self.lm, self.documents, self.options = lm, documents, options

    def expected(self, prompt, tokens):
        ids = self.lm.tokenizer.encode(prompt).ids
        model = self.lm.model
        with torch.no_grad():
            if self.lm.is_encoder_decoder:
                start = [model.config.decoder_start_token_id]
                if model.generation_config.forced_bos_token_id is not None:
                    start.append(model.generation_config.forced_bos_token_id)
                logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([start + tokens])).logits
            else:
                logits = model(input_ids=torch.tensor([ids + tokens])).logits
        return logits[0, -1].log_softmax(-1).tolist()

    def following(self, tokens):
        """The token after each occurrence; None where the document ends."""
        found = []
        for document in self.documents:
            starts = [0] if self.options.whole else range(len(document) - len(tokens) + 1)
            found.extend(
                [*document, None][start + len(tokens)]
                for start in starts
                if document[start : start + len(tokens)] == tokens
            )
        return found

    def allowed(self, tokens, probabilities, step):
        """Tokens that may follow, with their log-probability; None for an end."""
        options = self.options
        following = self.following(tokens)
        end = 0.0 if options.end is None else probabilities[options.end]
        ends = [(None, end)] if options.whole and tokens and None in following else []
        if step == options.length:
            return ends
        return [(token, probabilities[token]) for token in sorted({*following} - {None})] + ends

    def run(self, prompt):
        options = self.options
        beams, found = [([], 0.0)], []
        for step in range(options.length + options.whole):
            candidates = [
                (score + more, tokens, token)
                for tokens, score in beams
                for token, more in self.allowed(tokens, self.expected(prompt, tokens), step)
            ]
            chosen = sorted(candidates, key=lambda candidate: -candidate[0])[: 2 * options.beams]
            for score, tokens, token in chosen:
                if (token is None) == options.whole:
                    found.append((score, tokens if token is None else [*tokens, token]))
            beams = [([*tokens, token], score) for score, tokens, token in chosen if token is not None]
            beams = beams[: options.beams]
        return found


CASES = {
    "history": {},
    "one beam": {"beams": 1},
    "whole documents": {"whole": True, "length": 20, "end": 5, "beams": 8},
    "whole documents without an end": {"whole": True, "length": 20},
}


@pytest.fixture(scope="module")
def way(request):
    """Whether the index is listed, or the model's best tokens are looked for in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(beams_module._WIDE, "cpu", {"narrow": 1 << 30, "wide": 1}[request.param])
        yield


TRIED = [
    (model, case, way)
    for model in MODELS
    for case in CASES
    for way in ("narrow", "wide")
    # The cases differ in the search, not in the model: one causal model and one encoder-decoder go through all.
    if model in ("gpt2", "bart") or (case, way) == ("history", "wide")
]


@pytest.mark.parametrize(("lm", "case", "way"), TRIED, indirect=["lm", "way"], scope="module")
def test_it_finds_what_a_plain_search_finds(lm, fields, indexes, case, way):
    options = BeamOptions(**{"beams": 4, "length": 5, **CASES[case]})
    field = "title" if options.whole else "text"
    keys = BeamSearch(lm, indexes[field], options).run(Prompted(lm, PROMPTS, room=options.length), Kind.BODY)
    plain = Plain(lm, fields[field], options)
    for number, prompt in enumerate(PROMPTS):
        expected = plain.run(prompt)
        mine = np.flatnonzero(keys.query == number)
        ngrams = [keys.ngrams.part(place, place + 1).values.tolist() for place in mine]
        assert ngrams == [ngram for _, ngram in expected]
        np.testing.assert_allclose(keys.log_probability[mine], [score for score, _ in expected], atol=1e-9)
        assert len({tuple(ngram) for ngram in ngrams}) == len(ngrams)
        assert ngrams


def test_every_title_can_be_written(lm, fields, indexes):
    """The last one too; with more beams than titles, all are found, however improbable."""
    options = BeamOptions(beams=60, length=60, whole=True, end=5)
    keys = BeamSearch(lm, indexes["title"], options).run(Prompted(lm, PROMPTS[:1], room=60), Kind.TITLE)
    found = [keys.ngrams.part(place, place + 1).values.tolist() for place in range(len(keys))]
    assert sorted(found) == sorted({tuple(title): title for title in fields["title"] if title}.values())


def test_a_smaller_batch_gives_the_same(lm, indexes):
    search = BeamSearch(lm, indexes["text"], BeamOptions(beams=4, length=5))
    together = search.run(Prompted(lm, PROMPTS, room=5), Kind.BODY)
    for number, prompt in enumerate(PROMPTS):
        alone, mine = search.run(Prompted(lm, [prompt], room=5), Kind.BODY), together.part(number, number + 1)
        assert alone.ngrams.values.tolist() == mine.ngrams.values.tolist()
        np.testing.assert_allclose(alone.log_probability, mine.log_probability, atol=1e-9)


def test_an_index_with_more_tokens_than_the_model_is_refused(lm, tmp_path):
    build([{"body": Ragged.of([[1, 450]])}], tmp_path, range(500))
    with pytest.raises(ModelError, match="has 400 tokens, but the index one of id 499"):
        BeamSearch(lm, FMIndex([tmp_path / "00000" / "body"]), BeamOptions())


def test_a_prompt_that_is_too_long_is_told(lm):
    if getattr(lm.model.config, "max_position_embeddings", None) is None:
        pytest.skip("this kind of model reads prompts of any length")
    with pytest.raises(QueryError, match="question 1 makes a prompt of"):
        Prompted(lm, ["short", "long " * 200], room=5)


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"length": 0}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(QueryError, match="give at least 1 beam"):
        BeamOptions(**wrong)
