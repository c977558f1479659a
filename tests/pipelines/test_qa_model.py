"""Questions that a model of this machine writes about answers: what it reads, and what of its words counts."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from language_models import saved
from pydantic import ValidationError

from mnemodex.pipelines.qa.generators import model as model_module
from mnemodex.pipelines.qa.generators.base import Passage, Span
from mnemodex.pipelines.qa.generators.model import ModelGenerator
from mnemodex.schemas.pair_sections import ModelPairs

pytestmark = pytest.mark.usefixtures("one_thread")

WORK = SimpleNamespace(cpus=1)
KINDS = ["t5", "bart", "gpt2", "llama"]
PROMPT = "{title}: {passage} ({answer}) asks"
MARR = Passage("Marr", "She was born in Dunmarrow in 1889.")
QUAY = Passage("", "The quay has moss.")
ANSWERS = [[Span(16, 25, "GPE"), Span(29, 33, "DATE")], [Span(13, 17, "noun_chunk")]]


def made(name, **settings):
    spec = {"generator": "model", "model": name, "prompt": PROMPT, "beams": 3, "max_tokens": 8, **settings}
    generator = ModelGenerator(ModelPairs(**spec), WORK)
    # In doubles, so that no two ways of computing it rank anything differently.
    generator._lm.model.double()
    return generator


def read(generator, tokens):
    return generator._lm.tokenizer.decode(tokens)


def pairs(generated):
    return [(one.question, one.answer, pytest.approx(one.score, abs=1e-6)) for one in generated.candidates]


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_the_same_alone_as_in_a_batch(kind, tmp_path):
    generator = made(saved(kind, tmp_path), questions=2)
    together = generator.generate([MARR, QUAY, QUAY], [*ANSWERS, []])
    alone = [generator.generate([passage], [spans])[0] for passage, spans in zip([MARR, QUAY], ANSWERS, strict=True)]
    assert list(map(pairs, together)) == [*map(pairs, alone), []]
    assert [one.problems for one in together] == [*(one.problems for one in alone), []]
    for one, spans in zip(together, [*ANSWERS, []], strict=True):
        assert {candidate.answer for candidate in one.candidates} <= set(spans)
        assert [c.score for c in one.candidates] == sorted((c.score for c in one.candidates), reverse=True)
        assert bool(one.problems) == (bool(spans) and not one.candidates)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beams", [1, 3])
def test_the_score_is_the_mean_log_probability_of_the_tokens_that_count(kind, beams, tmp_path, monkeypatch):
    generator = made(saved(kind, tmp_path), beams=beams)
    seen = []

    def question(tokens, scores):
        seen.append((tokens, scores))
        return ModelGenerator._question(generator, tokens, scores)

    monkeypatch.setattr(generator, "_question", question)
    prompt = generator._fit(MARR, ANSWERS[0][0])
    ((written,),) = generator._search([prompt])
    ((tokens, scores),) = seen
    lm = generator._lm
    with torch.inference_mode():
        if lm.is_encoder_decoder:
            start = torch.tensor([[lm.model.config.decoder_start_token_id, *tokens]])
            logits = lm.model(input_ids=torch.tensor([prompt]), decoder_input_ids=start).logits[0, :-1]
        else:
            logits = lm.model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)[torch.arange(len(tokens)), tokens].numpy()
    # The first and the last token of this one are forced.
    chosen = slice(1, -1) if kind == "bart" else slice(None)
    assert scores[chosen] == pytest.approx(expected[chosen], abs=1e-4)
    if written.text:
        assert written.score <= 0


def test_what_comes_after_the_question_counts_for_nothing(tmp_path):
    generator = made(saved("gpt2", tmp_path))
    tokens = generator._lm.tokenizer.encode("\n Who is she? Ada. Who").ids
    scores = np.linspace(-1, -2, len(tokens), dtype=np.float32)
    count = next(n for n in range(len(tokens)) if "?" in read(generator, tokens[:n]))
    assert generator._question(tokens, scores) == ("Who is she?", pytest.approx(scores[:count].mean()))
    text = generator._lm.tokenizer.encode("who was she\nAnswer: Ada").ids
    assert generator._question(text, scores[: len(text)]).text == "who was she"
    assert generator._question([3, *tokens], scores).text == ""


def test_the_answer_is_marked_and_a_passage_says_nothing_to_the_prompt(tmp_path):
    generator = made(saved("llama", tmp_path))
    passage = Passage("T{answer}", "A {title} in Rome.")
    tokens = generator._fit(passage, Span(13, 17, "GPE"))
    assert read(generator, tokens) == "T{answer}: A {title} in ** Rome **. (Rome) asks"
    assert generator.counts() == {"cut": 0, "unasked": 0}


@pytest.mark.parametrize("place", [0, 90, 179])
def test_a_passage_that_is_too_long_is_cut_around_the_answer_and_counted(place, tmp_path):
    generator = made(saved("gpt2", tmp_path))
    words = ["moss"] * 180
    words[place] = "Dunmarrow"
    text = " ".join(words)
    start = text.index("Dunmarrow")
    tokens = generator._fit(Passage("Marr", text), Span(start, start + 9, "GPE"))
    assert 110 < len(tokens) <= 120 and "** Dunmarrow **" in read(generator, tokens)
    (around,) = [part for part in [read(generator, tokens)] if part.startswith("Marr: ")]
    before, after = (part.count("moss") for part in around.split("** Dunmarrow **"))
    assert (before == 0) == (place == 0) and (after == 0) == (place == 179)
    assert abs(before - after) < 3 or place != 90
    assert generator.counts()["cut"] == 1


def test_no_room_for_the_answer_is_a_problem(tmp_path):
    (one,) = made(saved("gpt2", tmp_path)).generate([Passage("T" * 300, MARR.text)], ANSWERS[:1])
    assert one.candidates == [] and "none of 2 answers: it reads fewer tokens than the prompt has" in one.problems[0]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ([""], "it writes nothing"),
        (["...?"], "it writes nothing"),
        (["She was born in"], "it repeats its prompt"),
        (["Where was the novelist Ottoline Marr born?"], "it repeats its prompt"),
        (["where was she born"], ""),
        (["Where was she born?", "where was  she born?", ""], ""),
    ],
)
def test_nothing_and_the_prompt_are_no_questions(tmp_path, written, reason):
    generator = made(saved("llama", tmp_path), prompt=None)
    questions = [model_module._Question(text, -1.0) for text in written]
    usable, said = generator._usable(questions, MARR, ANSWERS[0][0])
    assert usable == ([] if reason else questions[:1]) and (said == reason or usable)


def test_answers_without_a_question_are_counted(tmp_path, monkeypatch):
    generator = made(saved("t5", tmp_path))
    monkeypatch.setattr(
        generator,
        "_search",
        lambda prompts: [
            [model_module._Question("When?" if "(1889)" in read(generator, p) else "", -1.0)] for p in prompts
        ],
    )
    marr, quay = generator.generate([MARR, QUAY], ANSWERS)
    assert [one.question for one in marr.candidates] == ["When?"] and marr.problems == []
    assert quay.problems == ["the model asks about none of 1 answers: it writes nothing (1)"]
    assert generator.counts()["unasked"] == 1


def test_a_model_is_told_what_to_do_by_its_chat_template(tmp_path):
    name = saved("llama", tmp_path)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<me>"
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    text = read(
        made(name, prompt=None), made(name, prompt=None, max_tokens=1)._format.encode([{"role": "u", "content": "x"}])
    )
    assert text == "<u>x<me>"
    messages = made(name, prompt=None)._messages(MARR, "1889", "x ** 1889 ** y")
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"] == "Passage: Marr: x ** 1889 ** y\nAnswer: 1889\nQuestion:"


@pytest.mark.parametrize("prompt", ["Ask about {passage}", "Ask", "{answer} {title}"])
def test_a_prompt_without_the_answer_or_the_passage_is_refused(prompt):
    with pytest.raises(ValidationError, match=r"has no \{.*which the model reads"):
        ModelPairs(generator="model", model="m", prompt=prompt)
