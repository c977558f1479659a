"""Questions that the rules ask about sentences: which, with which words of the text as answers, and when none."""

from __future__ import annotations

import importlib.util
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.qa.generators.base import Passage
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.pair_sections import RulePairs
from mnemodex.schemas.sections import SPACY_MODEL

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("spacy", SPACY_MODEL)), reason="the extra openie"
)


@pytest.fixture(scope="module")
def generator():
    from mnemodex.pipelines.qa.generators.rules import RuleGenerator

    settings = RulePairs(generator="rules")
    RuleGenerator.check(settings)
    return RuleGenerator(settings, Work(1, None))


def pairs(generator, text, title=""):
    (generated,) = generator.generate([Passage(title, text)], [()])
    assert generated.problems == []
    scores = [candidate.score for candidate in generated.candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(score < 0 for score in scores)
    return {one.question: text[one.answer.start : one.answer.end] for one in generated.candidates}


SENTENCES = {
    "subject": ("Marie Curie discovered radium in Paris.", "Who discovered radium in Paris?", "Marie Curie"),
    "object": ("Marie Curie discovered radium in Paris.", "What did Marie Curie discover in Paris?", "radium"),
    "place": ("Marie Curie discovered radium in Paris.", "Where did Marie Curie discover radium?", "Paris"),
    "time": ("The bridge of Arnow was opened in 1852.", "When was the bridge of Arnow opened?", "1852"),
    "present": ("Wild bees keep nectar in wax combs.", "What do wild bees keep in wax combs?", "nectar"),
    "number": ("Anna Berg wrote twelve novels.", "How many novels did Anna Berg write?", "twelve"),
    "agent": (
        "The opera was composed by Clara Voss in 1890.",
        "Who was the opera composed by in 1890?",
        "Clara Voss",
    ),
    "definition": ("A basalt is a dark volcanic rock.", "What is a basalt?", "a dark volcanic rock"),
    "modal": (
        "A falcon can reach a speed of 300 miles an hour.",
        "What can a falcon reach?",
        "a speed of 300 miles an hour",
    ),
    "reason": (
        "The town of Elm Creek was abandoned because the river had flooded.",
        "Why was the town of Elm Creek abandoned?",
        "the river had flooded",
    ),
    "possession": (
        "Clara Voss's first opera was performed in Vienna.",
        "Whose first opera was performed in Vienna?",
        "Clara Voss",
    ),
    "coordinated verb": (
        "Anna Berg moved to Norway and founded the Oslo School.",
        "What did Anna Berg found?",
        "Oslo School",
    ),
}


@pytest.mark.parametrize("rule", SENTENCES)
def test_a_sentence_is_asked_about_in_the_words_of_the_rule(generator, rule):
    text, question, answer = SENTENCES[rule]
    assert pairs(generator, text).get(question) == answer


def test_a_pronoun_becomes_the_name_that_it_means(generator):
    text = "Anna Berg was born in Bergen. In 1920 she married Otto Lind. Her novels were printed in Leipzig."
    asked = pairs(generator, text)
    assert asked["Who did Anna Berg marry in 1920?"] == "Otto Lind"
    assert asked["Where were Anna Berg's novels printed?"] == "Leipzig"


def test_a_surname_is_written_in_full_from_the_title(generator):
    text = "In 1921 Berg moved to Hamburg. Anna Berg was a writer."
    assert pairs(generator, text, title="Anna Berg")["When did Anna Berg move to Hamburg?"] == "1921"


def test_a_pronoun_that_means_nothing_known_is_not_asked_about(generator):
    assert not pairs(generator, "It was built by them in 1850. This caused others to leave.")


def test_what_a_denial_an_unknown_thing_or_a_guess_says_is_not_asked_about(generator):
    text = (
        "Anna Berg never visited Hamburg. Otto Lind hardly read letters. If Clara Voss sold the house, Otto Lind "
        "bought a farm. This bridge crosses the Elm River. No critic praised the opera in Vienna."
    )
    asked = pairs(generator, text)
    assert not [question for question in asked if "Hamburg" in question or "letters" in question]
    assert not [question for question in asked if "bridge" in question or "praise" in question]
    assert asked["What did Otto Lind buy if Clara Voss sold the house?"] == "a farm"
    assert "Who sold the house?" not in asked


def test_phrases_that_only_join_sentences_are_left_out(generator):
    asked = pairs(
        generator, "In addition, Anna Berg wrote twelve novels. For example, Anna Berg however admired Otto Lind."
    )
    assert "How many novels did Anna Berg write?" in asked
    assert "Who admired Otto Lind?" in asked


def test_documentation_of_a_function_says_what_it_returns(generator):
    asked = pairs(generator, "Return the largest item of a list.\n\nThe list may not be empty.", title="tools.largest")
    assert asked["What does tools.largest return?"] == "the largest item of a list"


def test_brackets_and_asides_are_left_out_of_questions(generator):
    text = "Anna Berg (1880-1950), who lived in Norway, wrote a long novel in 1912."
    assert "What did Anna Berg write in 1912?" in pairs(generator, text)


def test_no_question_holds_its_answer_or_repeats_and_all_end_with_a_question_mark(generator):
    text = " ".join(text for text, _, _ in SENTENCES.values()) * 2
    asked = pairs(generator, text)
    assert len(asked) > 15
    for question, answer in asked.items():
        assert question.endswith("?")
        assert question[0].isupper()
        assert answer.lower() not in question.lower()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "if x == 3:\n    return foo(bar)\n\n>>> print('Hello')\nHello\n",
        "{'a': [1, 2, 3], 'b': None}",
        "Москва является столицей России. 東京は日本の首都です。 القاهرة عاصمة مصر.",
        "x" * 30_000,
        "He did. It was. They were there.",
    ],
)
def test_what_is_no_english_prose_gives_no_questions(generator, text):
    assert not pairs(generator, text)


def test_a_very_long_text_is_read_to_its_end(generator):
    text = "Rain fell on the hills. " * 3000 + "Anna Berg wrote twelve novels."
    assert pairs(generator, text)["How many novels did Anna Berg write?"] == "twelve"


def test_lines_that_are_broken_anywhere_change_nothing_but_the_places(generator):
    text, question, answer = SENTENCES["definition"]
    broken = pairs(generator, f"   * {text.replace(' ', chr(10) + '     ')}\n\n")
    assert broken[question].split() == answer.split()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([text for text, _, _ in SENTENCES.values()]), st.text(" \n\t*-é(\U0001f600", max_size=4)
        ),
        max_size=5,
    )
)
@settings(max_examples=25, deadline=None)
def test_answers_are_whole_words_of_the_text(generator, parts):
    text = "".join(f"{sentence}{gap}\n" for sentence, gap in parts)
    for answer in pairs(generator, text).values():
        assert answer == answer.strip()
        before, _, after = text.partition(answer)
        assert answer
        assert not before[-1:].isalnum()
        assert not after[:1].isalnum()


def test_passages_keep_their_order(generator):
    texts = [SENTENCES["definition"][0], "", SENTENCES["number"][0]]
    first, second, third = generator.generate([Passage("", text) for text in texts], [()] * 3)
    assert first.candidates[0].question == SENTENCES["definition"][1]
    assert second.candidates == []
    assert third.candidates


def test_a_model_of_another_language_is_refused(tmp_path):
    from mnemodex.pipelines.qa.generators.rules import RuleGenerator

    (tmp_path / "meta.json").write_text(json.dumps({"lang": "de", "name": "x"}))
    with pytest.raises(ModelError, match=r"the rules know English sentences, but .* of the language 'de'; name"):
        RuleGenerator.check(RulePairs(generator="rules", model=str(tmp_path)))
