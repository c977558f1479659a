"""What is understood of the words of a model: without its thinking, and the lists in its JSON."""

from __future__ import annotations

import json

import pytest

from mnemodex.indexers.models.chat import Answer
from mnemodex.indexers.models.parsing import read_json, read_list, strip_thinking

FORM = '{"entities": ["Ada Stone"]}'


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Lyon", "Lyon"),
        ("<think>Paris?</think>\n\nLyon", "Lyon"),
        ("<THINK>Paris?</THINK>Lyon", "Lyon"),
        ("Paris? No.</think>Lyon", "Lyon"),
        ("<think>Paris or", ""),
        ("Lyon\n<think>or Paris", "Lyon"),
        ("<think>a</think>Lyon\n<think>b</think>", "Lyon"),
        ("Sure. <thinking>a</thinking> Lyon", "Sure.  Lyon"),
        ("<think>a <think> b</think> c</think>Lyon", "Lyon"),
        ("<think>I close it with `</think>` later</think>Lyon", "Lyon"),
        ("<think>a</think>```json\n{}\n```", "```json\n{}\n```"),
        ("[THINK]a[/THINK]Lyon", "Lyon"),
        ("◁think▷a◁/think▷Lyon", "Lyon"),
        ("<reasoning>a</reasoning>\nLyon", "Lyon"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Lyon<|return|>", "Lyon"),
        ("<|channel|>analysis<|message|>Paris or", ""),
        ("analysisParis? No.assistantfinalLyon", "Lyon"),
        ("analysis of the city: Lyon", "analysis of the city: Lyon"),
        ("The <think> tag begins it.", "The <think> tag begins it."),
        ('{"entities": ["<think>", "the </think> tag"]}', '{"entities": ["<think>", "the </think> tag"]}'),
        ("<thinker>Rodin</thinker>", "<thinker>Rodin</thinker>"),
        ("a \ud800", "a ?"),
    ],
)
def test_thinking_is_no_part_of_an_answer(text, answer):
    assert strip_thinking(text) == answer
    assert Answer(text, 0, 0).text == answer


@pytest.mark.parametrize(
    "text",
    [
        FORM,
        f"```json\n{FORM}\n```",
        f"Here it is: {FORM} I hope that it helps [see the form {{entities}}].",
        f'{FORM}\nNote: the form was {{"entities"}}.',
        f'{FORM}\nNote: a passage without names gives {{"entities": []}}.',
        f'The form is {{"entities": ["…"]}}. So: {FORM}',
        f'{{"task": "names"}}\n{FORM}',
        f"{FORM}\n{FORM}",
        f"[{FORM}]",
        f"{{{FORM}}}",
        '{"Entities": ["Ada Stone"]}',
        '{"result": {"entities": ["Ada Stone"]}}',
        '{"named_entities": ["Ada Stone"]}',
        '{"entities": {"person": ["Ada Stone"], "place": []}}',
        '["Ada Stone"]',
        '{"entities": ["Ada Stone",],}',
        '{"entities": [\n"Ada Stone"\n,\n]\n}',
        "{'entities': ['Ada Stone']}",
    ],
)
def test_a_list_is_found_whatever_is_around_it(text):
    assert read_list(text, "entities", lambda item: isinstance(item, str)) == ["Ada Stone"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I cannot help with that.", "prose"),
        ("", "prose"),
        ("I read [sic] it as {prose}.", "prose"),
        ('{"entities": ["Ada Stone", "Bo', "no end"),
        ('{"done": [{"entities": ["Ada Stone"]}, {"entities": ["Bo', "no end"),
        ('{"entities": [Ada Stone]}', "is not JSON"),
        ('{"entities": "none"}', "no list 'entities'"),
        ('{"error": "the context is too long"}', "no list 'entities'"),
        ("[1, 2]", "no list 'entities'"),
        ('{"entities": ["\\ud800"]}', "is not JSON"),
        ("[" * 100_000 + "]" * 100_000, "no end"),
        ('{"a":' * 100_000, "no end"),
        ('"{' * 100_000, "prose|no end|is not JSON"),
        ("{'\\" * 100_000, "no end"),
        ('{"a"' + "," * 100_000 + "}", "is not JSON"),
    ],
)
def test_what_gives_no_list_is_said(text, reason):
    with pytest.raises(ValueError, match=reason):
        read_list(text, "entities", lambda item: isinstance(item, str))


def test_an_empty_list_is_an_answer_and_commas_in_texts_stay():
    assert read_list('{"entities": []}', "entities", lambda item: False) == []
    text = json.dumps({"a": "x, ] ,} {", "b": ['"', "\\", "it's"]})
    assert list(read_json(f"so: {text[:-1]},}}")) == [json.loads(text)]


def test_single_items_are_a_list():
    first, second = {"s": 1}, {"s": 2}
    text = f"1. {json.dumps(first)}\n2. {json.dumps(second)}\n"
    assert read_list(text, "triples", lambda item: isinstance(item, dict) and "s" in item) == [first, second]
