"""What the reader by rules answers from passages, and when it has no answer."""

from __future__ import annotations

import importlib.util

import pytest

from mnemodex.retrievers.readers.answers import normalize_answer
from mnemodex.schemas.errors import ModelError
from mnemodex.schemas.sections import SPACY_MODEL

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("spacy", SPACY_MODEL)), reason="the extra openie"
)

BRIDGE = (
    "Arnow Bridge",
    "The bridge was designed by Anna Berg. It was opened in 1852 and has seven arches. Sailors hated it because its "
    "arches were low. It crosses the Elm River in Norway.",
)
OPERA = ("Clara Voss", "Clara Voss composed nine operas. She lived in Vienna until 1901. Her teacher was Otto Lind.")


@pytest.fixture(scope="module")
def reader():
    from mnemodex.retrievers.readers.rule_reader import RuleReader

    return RuleReader(SPACY_MODEL)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who designed the bridge?", "Anna Berg"),
        ("When was the bridge opened?", "1852"),
        ("How many arches has it?", "seven"),
        ("How many operas did Clara Voss compose?", "nine"),
        ("Where did Clara Voss live?", "Vienna"),
        ("What did Clara Voss compose?", "nine operas"),
        ("Who was Clara Voss's teacher?", "Otto Lind"),
        ("What does the bridge cross?", "Elm River"),
        ("Why did sailors hate the bridge?", "its arches were low"),
    ],
)
def test_an_answer_has_the_kind_and_the_place_that_the_question_asks_for(reader, question, answer):
    (read,) = reader.read([question], [[OPERA, BRIDGE]])
    assert normalize_answer(read) == normalize_answer(answer)


def test_without_a_passage_or_a_word_in_common_there_is_no_answer(reader):
    nothing = [], [("", "")], [("", "\n \n")], [("", "Kangaroos graze at dusk.")]
    assert reader.read(["Who designed the bridge?"] * 4, list(nothing)) == [None] * 4


def test_what_the_question_says_is_no_answer(reader):
    assert reader.read(["Is Anna Berg an engineer?"], [[("", "Anna Berg is an engineer.")]]) == [None]


def test_each_question_reads_its_own_passages(reader):
    answers = reader.read(["Where did she live?", "Where did she live?"], [[("", "She lived in Rome.")], [OPERA]])
    assert answers == ["Rome", "Vienna"]
    assert reader.read([], []) == []


def test_many_questions_give_what_each_gives_alone(reader):
    questions = ["Who designed the bridge?", "How many operas did Clara Voss compose?"] * 50
    passages = [[OPERA, BRIDGE]] * 100
    assert reader.read(questions, passages) == ["Anna Berg", "nine"] * 50


@pytest.mark.parametrize(
    "text", ["x" * 30_000, "bridge " * 20_000, "橋は1852年に開通した。", "def bridge():\n    return 3\n"]
)
def test_long_texts_other_scripts_and_code_are_read(reader, text):
    (answer,) = reader.read(["Who designed the bridge?"], [[("", text)]])
    assert answer is None or answer in text


def test_a_model_that_is_not_there_is_told():
    from mnemodex.retrievers.readers.rule_reader import RuleReader

    with pytest.raises(ModelError, match="is not installed"):
        RuleReader("no_such_model")
