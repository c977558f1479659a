"""Text of others as people see it."""

from __future__ import annotations

import pytest

from mnemodex.schemas.printable import printable, printable_lines, without_acting


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]52;c;eA==\x07", r"\x1b]52;c;eA==\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\u202eb\u2066c\u200fd\u061ce", r"a\u202eb\u2066c\u200fd\u061ce"),
        ("a\r\nb\tc\x7f\x00", r"a\r\nb\tc\x7f\x00"),
        ("a\x85b\u2028c\u2029d", r"a\x85b\u2028c\u2029d"),
        ("\udc9b", r"\udc9b"),
    ],
)
def test_what_would_act_is_an_escape(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["Zoë's naïve café [b]", "日本語", "שלום", "कर\u200dम", "👩\u200d🚒", r"C:\new"])
def test_letters_of_all_scripts_stay(text):
    assert printable(text) == text


def test_lines_stay_lines():
    assert printable_lines("a\r\nb\tc\n\x1b") == "a\nb       c\n\\x1b"


def test_text_without_acting_characters_is_one_line_of_words():
    assert without_acting("who\tis\u2028 it\x1b\u202e\ud800, co\xadop? ") == "who is it, coop?"
