"""Spans that a model marks: where they may begin and end, windows of long texts, and brute force."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from task_models import saved

from mnemodex.indexers.models.spans import SpanModel
from mnemodex.indexers.models.task_model import TaskModel
from mnemodex.schemas.errors import ModelError

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = "The keeper of Dunmarrow climbs two hundred steps; his lamplighting is finished at nine."
LONG = " ".join(f"On day {number} the keeper saw {number * 7} ships." for number in range(40))


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    return saved("QuestionAnswering", tmp_path_factory.mktemp("spans"))


@pytest.fixture(scope="module")
def model(name):
    return SpanModel(name)


def by_hand(name, text, question, max_tokens):
    """All spans of whole words of a short text with their scores, by transformers alone."""
    from transformers import AutoModelForQuestionAnswering

    loaded = AutoModelForQuestionAnswering.from_pretrained(name).eval()
    encoding = TaskModel(name, "spans").tokenizer.encode(*([text] if question is None else [question, text]))
    with torch.inference_mode():
        output = loaded(torch.tensor([encoding.ids]), token_type_ids=torch.tensor([encoding.type_ids]))
    starts, ends = (part[0].log_softmax(0) for part in (output.start_logits, output.end_logits))
    last = 0 if question is None else 1
    places = [place for place, owner in enumerate(encoding.sequence_ids) if owner == last]
    word, found = encoding.word_ids, {}
    for first in places:
        for end in places:
            whole = word[first - 1] != word[first] and word[end + 1] != word[end]
            characters = encoding.offsets[first][0], encoding.offsets[end][1]
            if 0 <= end - first < max_tokens and whole and any(map(str.isalnum, text[slice(*characters)])):
                found[characters] = float(starts[first] + ends[end])
    return found, float(starts[0] + ends[0])


@pytest.mark.parametrize("question", [None, "Who climbs?"])
def test_the_best_span_is_that_of_brute_force(name, model, question):
    expected, null = by_hand(name, TEXT, question, 5)
    (spans,) = model.mark([TEXT], None if question is None else [question], top=4, max_tokens=5)
    best = max(expected, key=expected.get)
    assert (spans[0].start, spans[0].end) == best
    for span in spans:
        assert span.score == pytest.approx(expected[span.start, span.end], abs=1e-4)
        assert span.margin == pytest.approx(span.score - null, abs=1e-4)


def test_spans_do_not_overlap_and_are_the_same_alone_as_in_a_batch(model):
    texts = [TEXT, LONG, "Moss.", ""]
    together = model.mark(texts, top=8, max_tokens=6)
    for text, spans in zip(texts, together, strict=True):
        assert all(a.end <= b.start or b.end <= a.start for a, b in combinations(spans, 2))
        assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
        (alone,) = model.mark([text], top=8, max_tokens=6)
        assert [span[:2] for span in alone] == [span[:2] for span in spans]
    assert [len(spans) for spans in together[1:]] == [8, 1, 0]


def test_all_of_a_long_text_is_read(model):
    (spans,) = model.mark([LONG], top=60, max_tokens=3)
    places = [span.start / len(LONG) for span in spans]
    assert min(places) < 0.1 and max(places) > 0.9


def test_a_question_that_fills_the_window_is_told(model):
    assert model.mark([TEXT, TEXT], ["why " * 60, "Who?"], top=1, max_tokens=5)[0] is None


@given(text=st.text(alphabet="ab é日本.!\n $7", max_size=60))
def test_spans_are_characters_of_the_text(model, text):
    (spans,) = model.mark([text], top=3, max_tokens=60)
    for span in spans:
        inside = text[span.start : span.end]
        assert inside == inside.strip() and any(map(str.isalnum, inside))
    assert spans or not any(map(str.isalnum, text))


def test_a_model_without_the_head_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded as one that marks spans: its weights lack"):
        SpanModel(saved("MaskedLM", tmp_path))
