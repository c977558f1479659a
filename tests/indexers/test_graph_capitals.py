"""Names by how they are written."""

# ruff: noqa: RUF001 (full-width marks are what is tested)
from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnemodex.indexers.graph.names import names_in, names_of, plain_title, sentences


@pytest.mark.parametrize(
    ("sentence", "names"),
    [
        ("The song was sung by Hank Snow in Nashville.", ["Hank Snow", "Nashville"]),
        ("In the University of Copenhagen he met Jan van der Berg.", ["University of Copenhagen", "Jan van der Berg"]),
        ("J. K. Rowling's book was read in St. Louis.", ["J. K. Rowling", "St. Louis"]),
        ("AT&T won Super Bowl 50 in 2016.", ["AT&T", "Super Bowl 50"]),
        ('She wrote "The Red and the Black" for Anne-Marie.', ["Red and the Black", "Anne-Marie"]),
        ("He said: “we will never come back to this town again”.", []),
        ("It was. There they were.", []),
        ("Лев Толстой родился в Ясной Поляне.", ["Лев Толстой", "Ясной Поляне"]),
        ("夏目漱石は日本で『坊っちゃん』を書いた。", ["坊っちゃん", "夏目漱石", "日本"]),
        ("スティーブ・ジョブズは来た", ["スティーブ・ジョブズ"]),
        ("北京大学在中国的北京", ["北京大学", "中国", "北京"]),
        ("中华人民共和国和日本", ["中华人民共和国", "日本"]),
        ("서울은 대한민국의 수도", ["서울", "대한민국", "수도"]),
        ("महात्मा गांधी का जन्म", ["महात्मा गांधी", "जन्म"]),
        ("ولد محمد علي في القاهرة", ["محمد", "القاهرة"]),
        ("nothing here", []),
        ("", []),
    ],
)
def test_names_are_found_by_how_they_are_written(sentence, names):
    assert names_in(sentence) == names


def test_a_passage_gives_its_title_first_and_each_name_once():
    text = "Ada Lovelace knew Babbage. Babbage lived in London."
    assert names_of("The Engine (machine)", text) == ["Engine", "Ada Lovelace", "Babbage", "London"]
    assert names_of("", text) == ["Ada Lovelace", "Babbage", "London"]
    assert names_of("", "") == []


def test_a_title_loses_its_suffix_but_never_everything():
    assert plain_title("Mercury (planet)") == "Mercury"
    assert plain_title(" 水星（惑星） ") == "水星"
    assert plain_title("(untitled)") == "(untitled)"
    assert [plain_title(title) for title in ("", "  ", "...", "—", "\u200b")] == [""] * 5
    assert names_of("...", "Ada rows.") == ["Ada"]


def test_a_title_of_a_megabyte_of_spaces_or_brackets_takes_no_time():
    for title in ("x" + " " * 1_000_000 + "y", "x" + "(" * 1_000_000, "x" + " (" * 500_000 + ")"):
        began = time.monotonic()
        assert plain_title(title)
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One here. Two there! Three?", 3),
        ("Dr. Who met J. R. Smith in St. Louis. He left.", 2),
        ("It cost 3.5 million. Then more.", 2),
        ("一つ。二つ！三つ？", 3),
        ("पहला। दूसरा।", 2),
        ("line one\nline two", 2),
        ("", 0),
    ],
)
def test_sentences_end_where_their_marks_say(text, count):
    assert len(sentences(text)) == count


def spaced(text):
    return " ".join(text.split())


@given(st.text(max_size=80), st.text(max_size=200))
@example("", "À\t0")
@example("", 'Ada  Byron "Ada\tByron"')
def test_any_text_gives_distinct_names_that_are_in_it(title, text):
    names = names_of(title, text)
    assert len(set(names)) == len(names)
    assert all(name and (spaced(name) in spaced(text) or name in title) for name in names)
