from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.fields import Fields


def parse(row, **fields):
    data = row if isinstance(row, bytes) else json.dumps(row).encode()
    return Fields(fields).parse(data, source="c.jsonl", line=7)


@pytest.mark.parametrize("key", ["id", "_id", "key", "docid"])
@pytest.mark.parametrize("text", ["text", "contents", "content", "body", "page_content"])
def test_usual_names_are_found(key, text):
    assert parse({key: "k", text: "words"}) == Record("k", "", "words", {}, "c.jsonl", 7)


def test_the_first_usual_name_counts_and_the_others_are_metadata():
    assert parse({"body": "b", "text": "t", "_id": "2", "id": "1"}) == Record(
        "1", "", "t", {"body": "b", "_id": "2"}, "c.jsonl", 7
    )


def test_named_fields_go_before_the_usual_ones():
    row = {"id": 1, "title": "T", "text": "t", "pmid": 99, "name": "N", "abstract": "A"}
    assert parse(row, key="pmid", title="name", text="abstract") == Record(
        "99", "N", "A", {"id": 1, "title": "T", "text": "t"}, "c.jsonl", 7
    )


def test_other_fields_become_metadata_as_they_are():
    row = {"id": "a", "text": "t", "year": 1999, "tags": ["x", None, 1.5], "deep": {"a": {"b": True}}}
    assert parse(row).metadata == {"year": 1999, "tags": ["x", None, 1.5], "deep": {"a": {"b": True}}}


def test_integer_keys_become_strings_and_nul_characters_stay():
    assert parse({"id": 0, "text": "a\0b"}) == Record("0", "", "a\0b", {}, "c.jsonl", 7)
    assert parse({"id": -(10**30), "text": ""}).key == str(-(10**30))


@pytest.mark.parametrize("row", [{"id": "a", "text": "t"}, {"id": "a", "text": "t", "title": None}])
def test_a_row_without_a_title_has_an_empty_one(row):
    assert parse(row).title == ""


@pytest.mark.parametrize(
    ("row", "fields", "reason"),
    [
        ({"text": "t", "name": 1}, {}, "has no field 'id' or '_id' or 'key' or 'docid' (its fields: text, name)"),
        ({"id": 1, "text": "t"}, {"key": "pmid"}, "has no field 'pmid' (its fields: id, text)"),
        ({"id": 1, "abstract": "t"}, {}, "name the field of the text in source.fields.text"),
        ({"id": 1, "text": "t"}, {"text": "body"}, "has no field 'body'"),
        ({"id": 1, "text": "t"}, {"title": "name"}, "name the field of the title in source.fields.title"),
        ({}, {}, "(its fields: none)"),
        ({"id": 1, "text": 5}, {}, "the field 'text' is int, not a string"),
        ({"id": 1, "text": None}, {}, "the field 'text' is null, not a string"),
        ({"id": 1, "text": ["a"]}, {}, "the field 'text' is list, not a string"),
        ({"id": 1, "text": "t", "title": True}, {}, "the field 'title' is bool"),
        ({"id": 1, "text": "t", "title": ["T"]}, {}, "the field 'title' is list"),
        ({"id": 1, "m": {"b": "t"}}, {"text": "m.c"}, "has no field 'm.c' (its fields: id, m)"),
        ({"id": 1, "m": "t"}, {"text": "m.b"}, "has no field 'm.b'"),
        ({"id": 1, "m": {"b": 5}}, {"text": "m.b"}, "the field 'm.b' is int, not a string"),
        ({"m": {"b": "t"}, "text": "t"}, {}, "has no field 'id'"),
        ({"id": None, "text": "t"}, {}, "the field 'id' is null"),
        ({"id": 1.5, "text": "t"}, {}, "the field 'id' is float"),
        ({"id": True, "text": "t"}, {}, "the field 'id' is bool"),
        ({"id": "", "text": "t"}, {}, "the field 'id' is empty"),
        (["id", "text"], {}, "is not a JSON object"),
        (b'"text"', {}, "is not a JSON object"),
        (b'{"id": 1, "text": "t"', {}, "is not JSON"),
        (b'{"id": 1, "text": "t"} {}', {}, "is not JSON"),
        (b'{"id": 1, "text": NaN}', {}, "is not JSON"),
        (b'{"id": 1, "text": "t", "score": Infinity}', {}, "is not JSON"),
        (b'{"id": 1, "text": "t", "scores": [{"a": 1e999}]}', {}, "too large for a double"),
        (b'{"id": 1, "text": "caf\xe9"}', {}, "is not UTF-8 (byte 0xe9 at byte 23)"),
        (b'{"id": 1, "text": "\xed\xa0\x80"}', {}, "is not UTF-8"),
        (rb'{"id": 1, "text": "\ud83d"}', {}, "surrogates come in pairs"),
        (rb'{"id": 1, "text": "\ude00\ud83d"}', {}, "surrogates come in pairs"),
        (rb'{"id": 1, "text": "t", "other": "\udc00"}', {}, "surrogates come in pairs"),
        (b"[" * 100_000, {}, "is not JSON"),
        (b'{"id": ' + b"9" * 10_000 + b', "text": "t"}', {}, "is not JSON"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row, fields, reason):
    bad = parse(row, **fields)
    assert isinstance(bad, BadRow)
    assert reason in bad.reason
    assert (bad.source, bad.line) == ("c.jsonl", 7)


def test_a_dotted_name_is_a_field_of_an_object_and_leaves_the_others_there():
    row = {"m": {"id": 7, "body": {"en": "words", "de": "Worte"}}, "name.full": "N", "rest": 1}
    assert parse(row, key="m.id", text="m.body.en", title="name.full") == Record(
        "7", "N", "words", {"m": {"body": {"de": "Worte"}}, "rest": 1}, "c.jsonl", 7
    )
    assert parse({"id": 1, "a.b": "outer", "a": {"b": "inner"}}, text="a.b").text == "outer"


def test_rows_are_numbered_where_that_is_said():
    assert parse({"text": "t", "id": 3}, key="$row") == Record("c.jsonl:7", "", "t", {"id": 3}, "c.jsonl", 7)


@pytest.mark.parametrize(("title", "text"), [(2001, "2001"), (3.5, "3.5"), (0, "0"), (-(10**30), str(-(10**30)))])
def test_a_number_is_a_title(title, text):
    assert parse({"id": 1, "text": "t", "title": title}).title == text


def test_what_a_bad_row_keeps_and_lists_is_bounded():
    bad = parse({f"field{number}" * 100: "x" * 10_000 for number in range(1000)})
    assert len(bad.content) == 200
    assert len(bad.reason) < 10_000


def test_surrogate_pairs_are_one_character():
    assert parse(rb'{"id": 1, "text": "\ud83d\ude00"}').text == "😀"


@given(st.binary(max_size=40).map(lambda middle: b'{"id": "k", "text": "' + middle + b'"}') | st.binary(max_size=60))
def test_any_bytes_become_a_record_that_can_be_stored_or_a_bad_row(data):
    item = parse(data)
    if isinstance(item, Record):
        json.dumps([item.key, item.title, item.text, item.metadata], ensure_ascii=False, allow_nan=False).encode()
    else:
        assert item.reason
        item.content.encode()
        item.reason.encode()
