"""Prompts for reading, and what is understood of a model's words."""

from __future__ import annotations

import pytest

from mnemodex.retrievers.hits import Chunk
from mnemodex.retrievers.readers.hippo_reader import first_sentence, has_answer, parse, to_read, to_think

HITS = [
    Chunk(1, 0.9, 11, 1, "a", "Olme", "Olme lies {by} the sea.", 0, 10),
    Chunk(2, 0.5, 12, 2, "b", "", "No title here.", 0, 10),
]


def test_passages_stand_before_the_question_in_the_order_of_their_ranks():
    messages = to_read("Where is {Olme}?", HITS)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"] == (
        "Wikipedia Title: Olme\nOlme lies {by} the sea.\n\nWikipedia Title: No title here.\n\n"
        "Question: Where is {Olme}?\nThought: "
    )
    assert "Wikipedia Title: " in messages[1]["content"] and messages[1]["content"].endswith("\nThought: ")
    assert parse(messages[2]["content"]).answer == "River Aske"


def test_a_step_shows_the_thoughts_so_far():
    system, user = to_think("Where?", HITS[:1], ["One is found.", "Two is not."])
    assert system["role"] == "system" and "So the answer is:" in system["content"]
    assert user["content"].endswith("Question: Where?\nThought: One is found. Two is not.")


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("It is said in both.\nAnswer: River Aske", "It is said in both.", "River Aske"),
        ("A. B. \n\n**Answer:** 1862\n", "A. B.", "1862"),
        ("Thus\nANSWER :\n  yes ", "Thus", "yes"),
        ("Answer: St. Louis, Mo.", "", "St. Louis, Mo."),
        ("t\nAnswer: one\n\nQuestion: Who?\nThought: x\nAnswer: two", "t", "one"),
        ("It was founded then. So the answer is: 1862.", "It was founded then.", "1862"),
        ("I thought the answer is Paris. Passage 2 says Lyon. So the answer is Lyon. It is there.", None, "Lyon"),
        ("Is it Answer: Paris? No.\nAnswer: Lyon", None, "Lyon"),
        ("Answer: Lyon\n\nAnswer:", "", "Lyon"),
        ("The answer is not in passage 1.\nAnswer: Lyon\nI hope the answer is helpful.", None, "Lyon"),
        ("Question: Who?\nThought: x\nAnswer: two", None, "two"),
        ("\nQuestion: Who?\nThought: x\nAnswer: two", None, "two"),
        ("Final Answer: \\boxed{Lyon}", "Final", "Lyon"),
        ("It is there.\n$$\\boxed{\\text{Lyon}}$$", None, "Lyon"),
        ("<answer>Paris</answer> No. <answer>Lyon</answer>", None, "Lyon"),
        ("t\nAnswer\uff1a `Lyon`", "t", "Lyon"),
        ("t\nAnswer: **Lyon**.", "t", "Lyon."),
        ("Answer: *Hamlet* and ***Macbeth***, _both_", "", "Hamlet and Macbeth, both"),
        ("Answer: `__init__` or 2*3*4 ** a_b_c", "", "__init__ or 2*3*4 ** a_b_c"),
        ("t\n### Final Answer\n\nLyon", "t", "Lyon"),
        ("t\n**Answer**\nLyon", "t", "Lyon"),
        ("only prose", "", "only prose"),
        ("Answer:", "", ""),
        ("", "", ""),
    ],
)
def test_an_answer_is_what_stands_after_the_word(text, thought, answer):
    assert parse(text).answer == answer
    assert thought in (None, parse(text).thought)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "Neville A. Stanton works in Southampton. It was founded in 1862.",
            "Neville A. Stanton works in Southampton.",
        ),
        ("Dr. Marr was born in St. Ives. Then", "Dr. Marr was born in St. Ives."),
        ('He said "no." Then he left.', 'He said "no."'),
        ("3.5 km of sand lie there! And more.", "3.5 km of sand lie there!"),
        ("Thought: one\nand two", "one"),
        ("港の灯台。船を導く。", "港の灯台。"),
        ("without an end", "without an end"),
        ("  ", ""),
    ],
)
def test_a_thought_is_the_first_sentence(text, sentence):
    assert first_sentence(text) == sentence


def test_a_thought_that_has_the_answer_is_known():
    assert has_answer("so the answer is: 1862.")
    assert has_answer("The answer is: 1862.")
    assert not has_answer("The answer is not there, but it lies in Southampton.")
