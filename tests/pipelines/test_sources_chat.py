from __future__ import annotations

import json

import pytest
from sources import items, opened

import mnemodex
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.initial import write_recipe
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.recipe import load_recipe


def log(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


SAID = {"conversation": "c1", "session": 2, "turn": 5, "role": "user", "time": "2024-05-01T12:00:00Z", "text": "Жук?"}


def test_a_message_is_a_document_with_the_key_of_its_place(tmp_path):
    (found,) = items(opened(log(tmp_path / "log.jsonl", {**SAID, "mood": "curious"}), format="chat"))
    metadata = {
        "conversation": "c1",
        "session": "2",
        "turn": 5,
        "role": "user",
        "time": "2024-05-01T12:00:00Z",
        "mood": "curious",
    }
    assert found == Record("c1/2/5", "", "Жук?", metadata, "log.jsonl", 1)


def test_other_names_are_known_and_times_in_seconds_become_text(tmp_path):
    rows = [
        {"conversation_id": 7, "id": "m1", "speaker": "Ann", "timestamp": 1714564800, "content": "one"},
        {"thread_id": "t", "author": "Bo", "created_at": 1714564800500, "message": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "image"}, "four"]},
    ]
    found = items(opened(log(tmp_path / "log.jsonl", *rows), format="chat"))
    assert [item.key for item in found] == ["7/m1", "t/2", "log.jsonl/3"]
    assert [item.text for item in found] == ["one", "two", "three\nfour"]
    assert [item.metadata.get("time") for item in found] == [
        "2024-05-01T12:00:00+00:00", "2024-05-01T12:00:00.500000+00:00", None,
    ]  # fmt: skip
    assert [item.metadata["role"] for item in found] == ["Ann", "Bo", "user"]


def test_a_conversation_in_one_line_gives_its_messages(tmp_path):
    talk = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]},
        {"role": "assistant", "content": "three", "turn": 9},
    ]
    rows = [
        {"id": "c1", "topic": "beetles", "messages": talk},
        {"conversations": [{"from": "human", "value": "hi"}, "?"]},
    ]
    found = items(opened(log(tmp_path / "log.jsonl", *rows), format="chat"))
    assert [getattr(item, "key", None) for item in found] == ["c1/1", "c1/2", "c1/9", "log.jsonl/1", None]
    assert found[0].metadata == {"conversation": "c1", "turn": 1, "role": "user", "topic": "beetles"}
    assert found[1].text == ""
    assert isinstance(found[4], BadRow) and "message 2 is no object" in found[4].reason


def test_what_is_no_message_is_a_bad_row(tmp_path):
    path = log(tmp_path / "log.jsonl", {"role": "user"}, {**SAID, "text": 5}, {**SAID, "turn": {"n": 1}}, SAID)
    path.write_text(path.read_text() + "no json\n")
    found = items(opened(path, format="chat"))
    assert [type(item) for item in found] == [BadRow, BadRow, BadRow, Record, BadRow]
    assert [item.line for item in found] == [1, 2, 3, 4, 5]
    assert "has a message without a text; a message is" in found[0].reason
    with pytest.raises(SourceError, match=r"remove source\.fields"):
        opened(path, format="chat", fields={"text": "said"})


def test_messages_are_found_by_who_said_them_and_when(tmp_path):
    rows = [{**SAID, "turn": n, "role": role, "text": "a beetle"} for n, role in enumerate(("user", "assistant"))]
    path = log(tmp_path / "log.jsonl", *rows)
    said = write_recipe(path, tmp_path / "recipe.yaml", fields={})
    assert said == ["messages of conversations"]
    recipe = load_recipe(tmp_path / "recipe.yaml")
    types = {"conversation": "string", "session": "string", "turn": "int", "role": "string", "time": "timestamp"}
    assert (recipe.source.format, recipe.source.metadata) == ("chat", types)
    mnemodex.build(
        {
            "memory": str(tmp_path / "memory"),
            "source": {"path": str(path), "format": "chat"},
            "indexes": {"words": {"type": "bm25"}},
        }
    )
    words = mnemodex.open(tmp_path / "memory").retriever("words")
    (hits,) = words.search(["beetle"], k=5, where="role = 'assistant' AND time < '2024-06-01'").chunks()
    assert [hit.key for hit in hits] == ["c1/2/1"]
    more = log(tmp_path / "more.jsonl", {**SAID, "turn": 7, "text": "a beetle again"})
    assert mnemodex.open(tmp_path / "memory").add(more) == 1
    words = mnemodex.open(tmp_path / "memory").retriever("words")
    (hits,) = words.search(["beetle again"], k=1).chunks()
    assert [hit.key for hit in hits] == ["c1/2/7"]
